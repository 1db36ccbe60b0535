//! The token is in no file and in no output, of the server as of the client, whatever becomes of a run.

use std::path::Path;

use system_tests::programs::running::{Ended, Running, digits};
use system_tests::run_files::files;
use system_tests::servers::{ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK};

/// How a token could be written: as it is, as the numbers of its bytes, and in hexadecimal.
fn spellings(token: &[u8]) -> Vec<String> {
    // A part of it is enough, should a line be broken.
    let part = &token[..12];
    let joined = |separator: &str, format: fn(&u8) -> String| {
        part.iter().map(format).collect::<Vec<_>>().join(separator)
    };
    vec![
        String::from_utf8(part.to_vec()).unwrap(),
        joined(", ", |byte| byte.to_string()),
        joined("", |byte| format!("{byte:02x}")),
        joined("", |byte| format!("{byte:02X}")),
        joined(" ", |byte| format!("{byte:02x}")),
        joined(", ", |byte| format!("0x{byte:02x}")),
    ]
}

fn holds(bytes: &[u8], token: &[u8]) -> bool {
    // Every spelling is ASCII, which stays as it is.
    let text = String::from_utf8_lossy(bytes);
    spellings(token).iter().any(|spelling| text.contains(spelling))
}

/// Checks everything that a client has left and said, and all that the server has but for the file with the
/// token.
fn assert_token_is_nowhere(server: Server, root: &Path, clients: &[Ended]) {
    let token = server.token().as_bytes().to_vec();
    let (ended, directory) = server.stop("TERM");
    assert!(holds(&std::fs::read(directory.path().join("token")).unwrap(), &token), "the judge is blind");
    for ended in clients.iter().chain([&ended]) {
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!holds(text.as_bytes(), &token), "{text}");
        }
    }
    for (directory, name) in [root, directory.path()]
        .map(|it| files(it).into_iter().map(move |name| (it, name)))
        .into_iter()
        .flatten()
    {
        if name == "token" {
            continue;
        }
        let bytes = std::fs::read(directory.join(name.split(" -> ").next().unwrap_or_default())).unwrap();
        assert!(!holds(&bytes, &token) && !holds(name.as_bytes(), &token), "{name}");
    }
}

/// Trains on the server's device, with everything in the logs.
fn trained(server: &Server, root: &Path, id: &str, in_a_variable: bool) -> Ended {
    let few = "--epochs 1 --set limit_train_batches=4 --set limit_valid_batches=1";
    let mut command = digits(root, &format!("--run-id {id} {few}"));
    command.args(["--device", &server.addresses()[0].to_string()]).env("RUST_LOG", "trace");
    let token = String::from_utf8(server.token().as_bytes().to_vec()).unwrap();
    match in_a_variable {
        true => command.env("BURN_REMOTE_TOKEN", token),
        false => command.env_remove("BURN_REMOTE_TOKEN").arg("--token-file").arg(server.token_file()),
    };
    Running::start(command).end()
}

#[test]
fn a_run_on_a_server_leaves_no_token_behind() {
    for arguments in [ON_LOOPBACK, WEBSOCKET_ON_LOOPBACK] {
        let root = tempfile::tempdir().unwrap();
        let server = Server::start_with(arguments, |command| {
            command.env("RUST_LOG", "trace");
        });
        let ended = [trained(&server, root.path(), "r1", false), trained(&server, root.path(), "r2", true)];
        assert!(ended.iter().all(|ended| ended.status.success()), "{ended:?}");
        assert!(files(root.path()).iter().any(|name| name.ends_with("experiment.log")));
        assert_token_is_nowhere(server, root.path(), &ended);
    }
}

#[test]
fn a_refused_run_leaves_no_token_behind() {
    for arguments in [ON_LOOPBACK, WEBSOCKET_ON_LOOPBACK] {
        let (one, other) = (Server::start(arguments), Server::start(arguments));
        let root = tempfile::tempdir().unwrap();
        // To one server with the other's token.
        let mut command = digits(root.path(), "--run-id r1 --epochs 1");
        command.args(["--device", &one.addresses()[0].to_string()]).env("RUST_LOG", "trace");
        command.arg("--token-file").arg(other.token_file());
        let ended = Running::start(command).end();
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        let (log, _) = one.stop("TERM");
        assert!(log.stderr.contains("presented the wrong token"), "{log:?}");
        assert_token_is_nowhere(other, root.path(), &[ended, log]);
    }
}

#[test]
fn the_log_holds_everything_but_what_websocket_carries() {
    let server = Server::start_with(WEBSOCKET_ON_LOOPBACK, |command| {
        command.env("RUST_LOG", "tungstenite::protocol=trace,burn_remote=debug");
    });
    let root = tempfile::tempdir().unwrap();
    let ended = trained(&server, root.path(), "r1", false);
    assert!(ended.status.success(), "{ended:?}");
    let (log, _) = server.stop("TERM");
    assert!(log.stderr.contains("DEBUG burn_remote"), "{log:?}");
    assert!(!log.stderr.contains("TRACE tungstenite"), "{log:?}");
}
