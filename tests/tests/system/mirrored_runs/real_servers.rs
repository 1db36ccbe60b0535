//! Programs with a real server of S3, Google Cloud Storage and Azure: resumed on an empty disk, also after a
//! kill, and without a credential in any file or output. `cargo xtask azurite` runs those with Azure.

use std::path::Path;
use std::process::Command;

use burn_ckpt::mirror::{MirroredRun, Store};
#[cfg(feature = "azurite")]
use system_tests::object_stores::azure_server;
use system_tests::object_stores::{StoreServer, google_cloud_server, s3_server};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::files;

use super::{assert_same, lose_disk};

fn mirrored(root: &Path, address: &str, server: &StoreServer, epochs: u64) -> Command {
    let arguments = format!("--run-id r1 --epochs {epochs} --save-every-steps 4 --ckpt-path auto");
    let mut command = warmup(root, &arguments);
    command.args(["--mirror", address]);
    command.envs(server.variables()).env("RUST_LOG", "trace");
    command
}

#[test]
fn a_run_resumes_from_an_s3_server_to_the_same_bytes_and_no_credential_is_anywhere() {
    resumes(s3_server);
}

#[test]
fn a_run_resumes_from_google_cloud_to_the_same_bytes_and_no_credential_is_anywhere() {
    resumes(google_cloud_server);
}

#[cfg(feature = "azurite")]
#[test]
fn a_run_resumes_from_azure_to_the_same_bytes_and_no_credential_is_anywhere() {
    resumes(azure_server);
}

fn resumes(start: impl Fn(&Path) -> StoreServer) {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
    let arguments = "--run-id r1 --epochs 3 --save-every-steps 4 --ckpt-path auto";
    Running::start(warmup(&whole, arguments)).end_well();
    let mut server = start(directory.path());
    let address = format!("{}/team a", server.bucket);
    let first = Running::start(mirrored(&root, &address, &server, 1)).end_well();
    assert_nothing_leaked(&server, &root, &first);
    assert!(!first.stderr.contains("cannot"), "{}", first.stderr);
    lose_disk(&root);
    let second = Running::start(mirrored(&root, &address, &server, 3)).end_well();
    let downloading = format!("downloading {address}/r1/checkpoint/");
    assert!(second.stderr.contains(&downloading), "{}", second.stderr);
    assert_nothing_leaked(&server, &root, &second);
    assert_same(&whole, &root, 1..=1);
    // Another run begins with its weights, which it reads from there by ranges.
    let warm = directory.path().join("warm");
    let mut command = warmup(&warm, "--run-id r2 --epochs 1");
    command.args(["--set", &format!("init_from=\"{address}/r1/last\"")]).envs(server.variables());
    let warm_start = Running::start(command).end_well();
    assert!(warm_start.stderr.contains(&format!("{address}/r1")), "{}", warm_start.stderr);
    assert_nothing_leaked(&server, &warm, &warm_start);
    // Killed in the second epoch: what is in the mirror by then is whole, and the lease ends by itself.
    let (killed, address) = (directory.path().join("killed"), format!("{}/killed", server.bucket));
    let mut command = mirrored(&killed, &address, &server, 3);
    command.args(["--set", "mirror.lease_timeout_seconds=3"]);
    let gate = Gate::closed();
    let mut running = Running::start(TestHooks::wait(Split::Train, 50, &gate).given_to(command));
    running
        .wait_for("a checkpoint is in the mirror", |_| gate.is_reached() && is_in_mirror(&server, &address));
    assert_nothing_leaked(&server, &killed, &running.kill());
    lose_disk(&killed);
    let again = Running::start(mirrored(&killed, &address, &server, 3)).end_well();
    assert!(again.stderr.contains("downloading"), "{}", again.stderr);
    assert_same(&whole, &killed, 1..=1);
    // A server that is gone: the errors have none either.
    let mut late = mirrored(&root, &address, &server, 4);
    late.args(["--set", "mirror.wait_at_end_seconds=0"]);
    server.kill();
    let gone = Running::start(late).end_well();
    assert!(gone.stderr.contains("cannot be reached"), "{}", gone.stderr);
    assert_nothing_leaked(&server, &root, &gone);
}

fn is_in_mirror(server: &StoreServer, address: &str) -> bool {
    let store = Store::connect_with(&address.parse().unwrap(), &server.variables()).unwrap();
    MirroredRun::open(&store, "r1").is_ok_and(|run| !run.checkpoints().is_empty())
}

fn assert_nothing_leaked(server: &StoreServer, root: &Path, ended: &Ended) {
    server.assert_no_secret("stdout", ended.stdout.as_bytes());
    server.assert_no_secret("stderr", ended.stderr.as_bytes());
    let names = files(root);
    assert!(names.iter().any(|name| name.ends_with("metrics.jsonl")), "{names:?}");
    for name in names {
        let path = root.join(name.split(" -> ").next().unwrap_or_default());
        server.assert_no_secret(&name, &std::fs::read(path).unwrap());
    }
}
