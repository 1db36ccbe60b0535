//! A server says where its devices are once they can be connected, keeps its identity, lets no stranger in
//! without a token, and says in a line what keeps it from serving.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use burn_trainer::remote::RemoteAddress;
use system_tests::programs::commands::xtask_serve_command;
use system_tests::programs::running::{Ended, Running};
use system_tests::servers::{ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK, burn_serve, computes, write_secret};

/// The addresses that a server printed, and nothing else of its standard output.
fn printed(stdout: &str) -> Vec<RemoteAddress> {
    stdout.lines().map(|line| line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// How a server ends that cannot serve: with this status, one line that names what is wrong, and no address.
fn refuses_to_serve(command: Command, status: i32, named: &[&str]) -> Ended {
    let ended = Running::start(command).end();
    assert_eq!(ended.code(), Some(status), "{ended:?}");
    assert_eq!(ended.stdout, "");
    let errors = ended.errors();
    assert_eq!(errors.len(), 1, "{ended:?}");
    for name in named {
        assert!(errors[0].contains(name), "{name} is not in {ended:?}");
    }
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

#[test]
fn the_address_that_a_websocket_server_prints_connects() {
    let server = Server::start(WEBSOCKET_ON_LOOPBACK);
    assert!(server.addresses()[0].to_string().starts_with("remote:ws://127.0.0.1:"));
    computes(&server.connect(0));
    let addresses = server.addresses();
    let (ended, directory) = server.stop("TERM");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(printed(&ended.stdout), addresses);
    assert!(!directory.path().join("address").exists(), "it names a server that is not there");
}

#[test]
fn the_address_that_an_iroh_server_prints_connects() {
    let server = Server::start(ON_LOOPBACK);
    assert!(server.addresses()[0].to_string().contains("@127.0.0.1:"), "{:?}", server.addresses());
    computes(&server.connect(0));
    let addresses = server.addresses();
    let (ended, _) = server.stop("INT");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(printed(&ended.stdout), addresses);
    // This process is still connected, which the server can see before its own end.
    assert!(ended.stderr.lines().all(|line| line.contains("Iroh remote session")), "{ended:?}");
}

#[test]
fn every_address_of_the_machine_is_served_unless_one_is_given() {
    let server = Server::start("");
    let address = server.addresses()[0].to_string();
    assert!(address.contains('@') && !address.contains("@0.0.0.0"), "{address}");
    computes(&server.connect(0));
}

#[test]
fn a_websocket_server_on_every_address_is_known_by_the_machines_name() {
    let server = Server::start("--websocket --listen 0.0.0.0:0");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let address = server.addresses()[0].to_string();
    assert!(address.starts_with(&format!("remote:ws://{}:", name.trim())), "{address}");
}

#[test]
fn each_device_of_a_server_has_an_address() {
    for arguments in [ON_LOOPBACK, WEBSOCKET_ON_LOOPBACK] {
        let server = Server::start(&format!("{arguments} --devices 2"));
        let addresses = server.addresses();
        assert_eq!(addresses.len(), 2);
        assert_eq!(addresses[1], addresses[0].clone().with_index(1));
        assert!(addresses[1].to_string().ends_with("#1"), "{addresses:?}");
        let devices = [server.connect(0), server.connect(1)];
        assert_ne!(devices[0], devices[1]);
        devices.iter().for_each(computes);
    }
}

#[test]
fn the_command_serves_and_ends_with_its_signal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("address");
    let mut command = xtask_serve_command(&["--websocket", "--listen", "127.0.0.1:0", "--address-file"]);
    command.arg(&file).env_remove("BURN_REMOTE_TOKEN");
    let mut running = Running::start(command);
    running.wait_for("the addresses of its devices", |_| file.exists());
    computes(&printed(&fs::read_to_string(&file).unwrap())[0].connect(None).unwrap());
    running.send("TERM");
    let ended = running.end_well();
    assert_eq!(printed(&ended.stdout).len(), 1, "{ended:?}");
}

#[test]
fn a_server_keeps_its_identity_in_a_file_that_only_its_owner_reads() {
    let mut server = Server::start(ON_LOOPBACK);
    let file = server.directory().join("identity");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (addresses, identity) = (server.addresses(), fs::read(&file).unwrap());
    server.kill_and_restart();
    assert_eq!(server.addresses(), addresses);
    assert_eq!(fs::read(&file).unwrap(), identity);
    computes(&server.connect(0));
}

#[test]
fn the_identity_is_kept_in_the_users_state_directory_unless_a_file_is_given() {
    let state = tempfile::tempdir().unwrap();
    let mut command = burn_serve(ON_LOOPBACK);
    let file = state.path().join("address");
    command.arg("--address-file").arg(&file).env("XDG_STATE_HOME", state.path());
    let mut running = Running::start(command);
    running.wait_for("the addresses of its devices", |_| file.exists());
    let made: Vec<_> = fs::read_dir(state.path().join("burn-serve")).unwrap().map(Result::unwrap).collect();
    assert_eq!(made.len(), 1);
    let name = made[0].file_name().into_string().unwrap();
    assert!(name.starts_with("identity-"), "{name}");
    assert_eq!(made[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_identity_that_cannot_be_used_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let with = |path: &std::path::Path| {
        let mut command = burn_serve(ON_LOOPBACK);
        command.arg("--identity").arg(path);
        command
    };
    write_secret(&file, "too short");
    refuses_to_serve(with(&file), 1, &["key", "32-byte"]);
    fs::write(&file, [7; 32]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    refuses_to_serve(with(&file), 1, &["key", "mode is 640", "chmod 600"]);
    refuses_to_serve(with(&file.join("below")), 1, &["key/below"]);
    refuses_to_serve(with(directory.path()), 1, &["it is not a file"]);

    let server = Server::start(ON_LOOPBACK);
    refuses_to_serve(with(&server.directory().join("identity")), 1, &["another server has it", "--identity"]);
    computes(&server.connect(0));
}

#[test]
fn without_a_token_a_server_does_not_listen_beyond_this_machine() {
    let state = tempfile::tempdir().unwrap();
    for arguments in ["", "--listen 0.0.0.0:0", "--websocket --listen 0.0.0.0:0", "--listen [::]:0"] {
        let mut command = burn_serve(arguments);
        command.env("XDG_STATE_HOME", state.path());
        refuses_to_serve(command, 2, &["openssl rand -hex 32 > token", "--token-file", "--insecure"]);
    }
    let server = Server::start("--insecure --listen 0.0.0.0:0");
    computes(&server.addresses()[0].connect(None).unwrap());
    let (ended, _) = server.stop("TERM");
    assert!(ended.stderr.starts_with("warning: everybody who can reach this server"), "{ended:?}");
}

#[test]
fn a_token_that_others_may_read_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    write_secret(&file, "hunter2");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = burn_serve(WEBSOCKET_ON_LOOPBACK);
    command.arg("--token-file").arg(&file);
    let ended = refuses_to_serve(command, 2, &["token: its mode is 644", "chmod 600"]);
    assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
}

#[test]
fn a_websocket_beyond_this_machine_is_warned_of() {
    for (arguments, warned) in [("--websocket --listen 0.0.0.0:0", true), (WEBSOCKET_ON_LOOPBACK, false)] {
        let (ended, _) = Server::start(arguments).stop("TERM");
        assert_eq!(ended.stderr.contains("warning: WebSocket is not encrypted"), warned, "{ended:?}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let iroh = |address: &str| {
        let mut command = burn_serve(&format!("--insecure --listen {address}"));
        command.arg("--identity").arg(directory.path().join("identity"));
        command
    };
    let websocket = |address: &str| burn_serve(&format!("--insecure --websocket --listen {address}"));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    refuses_to_serve(websocket(&taken), 1, &[&taken, "in use"]);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = udp.local_addr().unwrap().to_string();
    refuses_to_serve(iroh(&taken), 1, &[&taken, "in use"]);
    // Of the addresses for documentation, which no machine has.
    let elsewhere = "198.51.100.7:3000";
    refuses_to_serve(websocket(elsewhere), 1, &[elsewhere, "assign"]);
    refuses_to_serve(iroh(elsewhere), 1, &[elsewhere, "assign"]);
    for nowhere in ["gpu1:3000", "127.0.0.1", "3000"] {
        refuses_to_serve(websocket(nowhere), 2, &[nowhere, "--listen", "0.0.0.0:3000"]);
    }
}

#[test]
fn where_the_addresses_cannot_be_written_is_said() {
    let mut command = burn_serve(WEBSOCKET_ON_LOOPBACK);
    command.args(["--address-file", "/proc/no/file"]);
    refuses_to_serve(command, 1, &["/proc/no/file"]);
}
