//! A training program whose device cannot be connected ends with a line that says why and what to do,
//! whatever is at the other end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use system_tests::programs::commands::workspace;
use system_tests::programs::running::{Ended, Running, digits};
use system_tests::servers::{
    ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK, computes, ending_with_us, new_token, write_secret,
};

/// How a training program ends on a device, with a token or without one.
fn trained(device: &str, token_file: Option<&Path>) -> Ended {
    let root = tempfile::tempdir().unwrap();
    let mut command = digits(root.path(), "--run-id r1 --epochs 1");
    command.args(["--device", device]).env_remove("BURN_REMOTE_TOKEN");
    if let Some(file) = token_file {
        command.arg("--token-file").arg(file);
    }
    Running::start(command).end()
}

/// Checks that it ended with an error that names the device and says this.
fn refused(ended: &Ended, device: &str, said: &[&str]) {
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let error = ended.errors().first().copied().unwrap_or_default();
    assert!(error.contains(device) && error.contains("cannot be connected"), "{ended:?}");
    for said in said {
        assert!(error.contains(said), "{said:?} is not in {ended:?}");
    }
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

/// Something that listens where a server is looked for, and does this with each connection. Its address.
fn something(with: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let device = format!("remote:ws://{}#0", listener.local_addr().unwrap());
    // It ends with the process.
    thread::spawn(move || listener.incoming().filter_map(Result::ok).for_each(&with));
    device
}

#[test]
fn a_wrong_token_and_none_are_told_apart_and_the_server_continues() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong");
    write_secret(&wrong, &new_token());
    for arguments in [ON_LOOPBACK, WEBSOCKET_ON_LOOPBACK] {
        let server = Server::start(arguments);
        let device = server.addresses()[0].to_string();
        refused(&trained(&device, Some(&wrong)), &device, &["rejected", "both read the same file"]);
        refused(&trained(&device, None), &device, &["rejected", "--token-file", "BURN_REMOTE_TOKEN"]);
        computes(&server.connect(0));
        let (ended, _) = server.stop("TERM");
        assert_eq!(ended.stderr.matches("presented the wrong token").count(), 2, "{ended:?}");
    }
}

#[test]
fn a_device_that_a_server_does_not_have_is_an_error() {
    let server = Server::start(WEBSOCKET_ON_LOOPBACK);
    let device = server.addresses()[0].clone().with_index(1).to_string();
    let ended = trained(&device, Some(&server.token_file()));
    refused(&ended, &device, &["hosts only 1 device", "counted from #0"]);
    computes(&server.connect(0));
}

#[test]
fn where_no_server_is_is_an_error() {
    // Its port is kept on another address, so that no other program gets it.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let websocket = format!("remote:ws://127.0.0.2:{}#0", tcp.local_addr().unwrap().port());
    let iroh = Server::start(ON_LOOPBACK);
    let address = iroh.addresses()[0].to_string();
    drop(iroh);
    thread::scope(|scope| {
        let over_websocket = scope.spawn(|| trained(&websocket, None));
        refused(&trained(&address, None), &address, &["cannot be reached", "see that the server runs"]);
        let ended = over_websocket.join().unwrap();
        refused(&ended, &websocket, &["cannot be reached", "see that the server runs"]);
    });
}

#[test]
fn another_kind_of_server_is_an_error() {
    let garbage = something(|mut stream| drop(stream.write_all(&[0xFF; 4096])));
    let http = something(|mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    for device in [&garbage, &http] {
        refused(&trained(device, None), device, &["cannot be reached", "this is the address it printed"]);
    }
}

#[test]
fn a_server_of_another_version_of_burn_is_an_error_that_names_both() {
    let directory = tempfile::tempdir().unwrap();
    let port = directory.path().join("port");
    let mut command = ending_with_us(Path::new("python3"));
    command.arg(workspace().join("tests/python/another_version.py")).arg(&port).arg("99");
    let mut server = Running::start(command);
    server.wait_for("its port", |_| port.exists());
    let device = format!("remote:ws://127.0.0.1:{}#0", std::fs::read_to_string(&port).unwrap());
    refused(&trained(&device, None), &device, &["speaks version 99", "same version of burn"]);
}
