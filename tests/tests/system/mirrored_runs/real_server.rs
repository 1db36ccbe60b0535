//! Programs with a real server of S3's interface: resumed on an empty disk, and without a credential in any
//! file or output.

use std::path::Path;
use std::process::Command;

use system_tests::object_stores::moto_server::{ACCESS_KEY, MotoServer, SECRET_KEY};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::run_files::files;

use super::{assert_same, lose_disk};

const SESSION_TOKEN: &str = "canary-session-token";

fn mirrored(root: &Path, server: &MotoServer, epochs: u64) -> Command {
    let arguments = format!("--run-id r1 --epochs {epochs} --save-every-steps 4 --ckpt-path auto");
    let mut command = warmup(root, &arguments);
    command.args(["--mirror", "s3://models/team a"]).envs(server.environment());
    command.env("AWS_SESSION_TOKEN", SESSION_TOKEN).env("RUST_LOG", "trace");
    command
}

fn assert_no_secret(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN] {
        assert!(!text.contains(secret), "{place}");
    }
}

#[test]
fn a_run_resumes_from_an_s3_server_to_the_same_bytes_and_no_credential_is_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
    let arguments = "--run-id r1 --epochs 3 --save-every-steps 4 --ckpt-path auto";
    Running::start(warmup(&whole, arguments)).end_well();
    let server = MotoServer::start(directory.path(), "models");
    let first = Running::start(mirrored(&root, &server, 1)).end_well();
    assert_nothing_leaked(&root, &first);
    lose_disk(&root);
    let second = Running::start(mirrored(&root, &server, 3)).end_well();
    assert!(second.stderr.contains("downloading s3://models/team a/r1/checkpoint/"), "{}", second.stderr);
    assert_nothing_leaked(&root, &second);
    assert_same(&whole, &root, 1..=1);
    // A server that is gone: the errors have none either.
    let mut late = mirrored(&root, &server, 4);
    late.args(["--set", "mirror.wait_at_end_seconds=0"]);
    drop(server);
    let gone = Running::start(late).end_well();
    assert!(gone.stderr.contains("cannot be reached"), "{}", gone.stderr);
    assert_nothing_leaked(&root, &gone);
}

fn assert_nothing_leaked(root: &Path, ended: &Ended) {
    assert_no_secret("stdout", ended.stdout.as_bytes());
    assert_no_secret("stderr", ended.stderr.as_bytes());
    let names = files(root);
    assert!(names.iter().any(|name| name.ends_with("metrics.jsonl")), "{names:?}");
    for name in names {
        let path = root.join(name.split(" -> ").next().unwrap_or_default());
        assert_no_secret(&name, &std::fs::read(path).unwrap());
    }
}
