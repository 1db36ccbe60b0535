//! Programs with `--mirror`: killed and started again on an empty disk, stopped by signals while they wait,
//! with a store that does not answer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use burn_ckpt::mirror::{MirrorAddress, MirroredRun};
use system_tests::object_stores::connect;
use system_tests::programs::commands::burn_ckpt_command;
use system_tests::programs::http_server::{HttpServer, Reply};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::run_dir;

use super::{assert_same, lose_disk};

/// Of the program.
const STEPS_PER_EPOCH: u64 = 30;
const RUN: &str = "--run-id r1 --epochs 3 --save-every-steps 4 --ckpt-path auto";

/// The program with a mirror whose lease ends a second after its holder's death.
fn mirrored(root: &Path, address: &str) -> Command {
    let mut command = warmup(root, RUN);
    command.args(["--mirror", address, "--set", "mirror.lease_timeout_seconds=1"]);
    command
}

fn newest_step(address: &str) -> Option<u64> {
    let address: MirrorAddress = address.parse().unwrap();
    let run = MirroredRun::open(&connect(&address).unwrap(), "r1").unwrap();
    run.newest().map(|checkpoint| checkpoint.global_step)
}

/// The environment of a store of S3's interface at an endpoint that does not answer as one.
fn of_endpoint(mut command: Command, endpoint: &str) -> Command {
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "canary-id"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
    ];
    command.envs(variables);
    command
}

#[test]
fn a_program_that_is_killed_resumes_on_another_machine() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root, disk] = ["whole", "root", "disk"].map(|name| directory.path().join(name));
    let address = format!("file://{}", disk.display());
    Running::start(warmup(&whole, RUN)).end_well();
    let gate = Gate::closed();
    let command = TestHooks::wait(Split::Train, 90, &gate).given_to(mirrored(&root, &address));
    let mut running = Running::start(command);
    running.wait_for("its batch", |_| gate.is_reached());
    running.wait_for("a checkpoint in the mirror", |_| newest_step(&address).is_some());
    running.kill();
    // Of the saves before the gate the loop tells the mirror between two steps: which it was is chance.
    let newest = newest_step(&address).unwrap();
    lose_disk(&root);
    let ended = Running::start(mirrored(&root, &address)).end_well();
    for said in [format!("downloading {address}/r1/checkpoint/"), "resuming r1 from ".to_owned()] {
        let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.contains(&said)).collect();
        assert!(lines.len() == 1 && lines[0].contains(&format!("step={newest}.ckpt")), "{}", ended.stderr);
    }
    assert!(ended.stdout.contains(&format!("mirror {address}/r1: ")), "{}", ended.stdout);
    assert_same(&whole, &root, 1..=newest / STEPS_PER_EPOCH);
}

#[test]
fn a_dead_store_is_said_once_and_the_exit_status_is_0() {
    let root = tempfile::tempdir().unwrap();
    // The port of a server that has ended.
    let endpoint = HttpServer::start(|_| Reply::Close).uri();
    let arguments = ["--mirror", "s3://models/p", "--set", "mirror.wait_at_end_seconds=0"];
    let mut command = warmup(root.path(), "--run-id r1 --epochs 2 --save-every-steps 4");
    command.args(arguments);
    let ended = Running::start(of_endpoint(command, &endpoint)).end_well();
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("warning:")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    assert!(
        warnings[0].contains("s3://models/p") && warnings[0].contains("cannot be reached"),
        "{warnings:?}"
    );
    assert!(ended.stderr.contains("the mirror lacks"), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("mirror s3://models/p/r1: 0 checkpoints sent, 2 missing"),
        "{}",
        ended.stdout
    );
    // The run is as one without a mirror, but it fails where it is told to.
    let mut strict = warmup(root.path(), "--run-id r1 --epochs 3 --ckpt-path auto");
    strict.args(arguments).args(["--set", "mirror.failed_mirror=fail_if_last"]);
    let ended = Running::start(of_endpoint(strict, &endpoint)).end();
    assert_eq!(ended.code(), Some(1));
    let why = "exit status 1: the mirror lacks the newest checkpoint (failed_mirror is fail_if_last)";
    assert!(ended.stderr.trim_end().ends_with(why), "{}", ended.stderr);
    // Nothing begins from the start in silence.
    lose_disk(root.path());
    let mut auto = warmup(root.path(), RUN);
    auto.args(arguments);
    let ended = Running::start(of_endpoint(auto, &endpoint)).end();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("there is no checkpoint of the run r1 on disk"), "{}", ended.stderr);
    assert!(!run_dir(root.path()).join("metrics.jsonl").exists());
}

#[test]
fn a_signal_ends_the_wait_for_the_mirror() {
    let root = tempfile::tempdir().unwrap();
    // A server that answers each request with an error that is worth another try.
    let server = HttpServer::start(|_| Reply::Json(503, "<Error><Code>SlowDown</Code></Error>".to_owned()));
    let mut command = warmup(root.path(), "--run-id r1 --epochs 1");
    command.args(["--mirror", "s3://models/p", "--set", "mirror.wait_at_end_seconds=600"]);
    let mut running = Running::start(of_endpoint(command, &server.uri()));
    let last = run_dir(root.path()).join("checkpoint/last.ckpt");
    running.wait_for("its last save", |_| last.exists());
    running.wait_for("the wait", |said| said.contains("waiting for the mirror"));
    running.send("TERM");
    let ended = running.end();
    assert_eq!(ended.code(), Some(0), "training was done: {}", ended.stderr);
    assert!(ended.stderr.contains("the mirror lacks") && ended.stderr.contains("last/"), "{}", ended.stderr);
}

/// The program, started with a store that takes connections and never answers.
fn starts_with_a_silent_store(root: &Path) -> (HttpServer, Running) {
    let server = HttpServer::start(|_| Reply::Hang);
    let mut command = warmup(root, RUN);
    command.args(["--mirror", "s3://models/p"]);
    let running = Running::start(of_endpoint(command, &server.uri()));
    (server, running)
}

#[test]
fn a_store_that_never_answers_is_said_soon_and_ends_the_start_within_a_minute_or_so() {
    let root = tempfile::tempdir().unwrap();
    let (_server, mut running) = starts_with_a_silent_store(root.path());
    let begun = Instant::now();
    let said = "s3://models/p has not answered for 10 s: waiting for it, 60 s at most";
    running.wait_for("the line", |stderr| stderr.contains(said));
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let ended = running.end();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("has not answered").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("the store did not answer in time"), "{}", ended.stderr);
}

#[test]
fn burn_ckpt_says_soon_that_a_store_never_answers() {
    let server = HttpServer::start(|_| Reply::Hang);
    // An address can be that of a run: its mirror is asked first.
    let asked = [("ls", "s3://models/p", "s3://models"), ("show", "s3://models/p/r1/last", "s3://models/p")];
    let waiting = asked.map(|(verb, address, mirror)| {
        let mut command = burn_ckpt_command();
        command.args([verb, address]);
        (Running::start(of_endpoint(command, &server.uri())), mirror)
    });
    let begun = Instant::now();
    for (mut running, mirror) in waiting {
        let said = format!("{mirror} has not answered for 10 s: waiting for it, 60 s at most");
        running.wait_for("the line", |stderr| stderr.contains(&said));
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        running.send("TERM");
        assert_eq!(running.end().signal(), Some(15));
    }
}

#[test]
fn a_signal_ends_a_start_that_waits_for_the_store_at_once_and_says_that_nothing_was_sent() {
    let root = tempfile::tempdir().unwrap();
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let (server, mut running) = starts_with_a_silent_store(root.path());
        running.wait_for("its request", |_| !server.requests().is_empty());
        let begun = Instant::now();
        running.send(signal);
        let ended = running.end();
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert_eq!(ended.code(), Some(status), "{}", ended.stderr);
        let why = format!("SIG{signal} has ended the start, which waited for the mirror s3://models/p");
        assert!(ended.stderr.contains(&why), "{}", ended.stderr);
        assert!(!ended.stderr.contains("did not end by itself"), "{}", ended.stderr);
    }
}

#[test]
fn what_the_store_refuses_is_said_at_once_and_the_end_does_not_wait_for_it() {
    let root = tempfile::tempdir().unwrap();
    let run = |code: &'static str, status, arguments: &str| {
        let server =
            HttpServer::start(move |_| Reply::Json(status, format!("<Error><Code>{code}</Code></Error>")));
        let mut command = warmup(root.path(), arguments);
        command.args(["--mirror", "s3://models/p"]);
        Running::start(of_endpoint(command, &server.uri())).end()
    };
    for (code, status, advice) in [
        ("ExpiredToken", 400, "the credentials have expired: set new ones"),
        ("AuthorizationHeaderMalformed", 400, "set AWS_REGION to the bucket's"),
        ("InvalidAccessKeyId", 403, "the store does not accept the credentials"),
        ("AccessDenied", 403, "check what these credentials may do"),
    ] {
        let ended = run(code, status, RUN);
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(advice) && !ended.stderr.contains("\"none\""), "{}", ended.stderr);
    }
    // With something on disk the run trains, and its end does not wait the ten minutes.
    Running::start(warmup(root.path(), "--run-id r1 --epochs 1")).end_well();
    let ended = run("ExpiredToken", 400, "--run-id r1 --epochs 2 --ckpt-path auto");
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("is sent once that is set right"), "{}", ended.stderr);
    assert!(ended.stderr.contains("or burn-ckpt mirror"), "{}", ended.stderr);
}

#[test]
fn a_run_that_a_signal_stops_has_its_last_state_in_the_mirror() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root, disk] = ["whole", "root", "disk"].map(|name| directory.path().join(name));
    let address = format!("file://{}", disk.display());
    Running::start(warmup(&whole, RUN)).end_well();
    let stopped =
        system_tests::programs::stop_at_batch::stop_at_batch(mirrored(&root, &address), Split::Train, 50);
    assert_eq!(newest_step(&address), Some(50), "{}", stopped.stderr);
    lose_disk(&root);
    Running::start(mirrored(&root, &address)).end_well();
    assert_same(&whole, &root, 1..=1);
}

#[test]
fn a_mirror_that_is_held_by_a_living_process_is_an_error_before_the_first_step() {
    let directory = tempfile::tempdir().unwrap();
    let [root, other, disk] = ["root", "other", "disk"].map(|name| directory.path().join(name));
    let address = format!("file://{}", disk.display());
    let gate = Gate::closed();
    let mut first = warmup(&root, RUN);
    first.args(["--mirror", &address, "--set", "mirror.lease_timeout_seconds=30"]);
    let mut running = Running::start(TestHooks::wait(Split::Train, 5, &gate).given_to(first));
    running.wait_for("its batch", |_| gate.is_reached());
    let second = Running::start(mirrored(&other, &address)).end();
    assert_eq!(second.code(), Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(&format!("in use by process {}", running.id())), "{}", second.stderr);
    assert!(!run_dir(&other).join("metrics.jsonl").exists());
    gate.open();
    running.end_well();
}

#[test]
fn a_damaged_checkpoint_and_a_mirror_of_a_newer_format_are_one_line_each() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk] = ["root", "disk"].map(|name| directory.path().join(name));
    let address = format!("file://{}", disk.display());
    let start = |epochs: u64| {
        let arguments = format!("--run-id r1 --epochs {epochs} --save-every-steps 4 --ckpt-path auto");
        let mut command = warmup(&root, &arguments);
        command.args(["--mirror", &address, "--set", "mirror.lease_timeout_seconds=1"]);
        Running::start(command).end_well()
    };
    start(1);
    let newest = run_dir(&root).join("checkpoint/last.ckpt").canonicalize().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let ended = start(2);
    let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("downloading")).collect();
    assert_eq!(said.len(), 1, "{}", ended.stderr);
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(
        said[0].contains(name) && said[0].ends_with("the newest checkpoint on disk is damaged"),
        "{said:?}"
    );
    assert!(ended.stderr.lines().any(|line| line.contains("resuming r1") && line.contains(name)));

    for directory in ["last", "best"] {
        for entry in std::fs::read_dir(disk.join("r1/checkpoint").join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().ends_with(".commit.json") {
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(&path, text.replacen("\"version\": 1", "\"version\": 2", 1)).unwrap();
            }
        }
    }
    let ended = start(3);
    let warnings: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("warning:")).collect();
    assert_eq!(warnings.len(), 1, "{}", ended.stderr);
    for part in [&address, "mirror format 2", "resumes from the disk, and nothing is sent to the mirror"] {
        assert!(warnings[0].contains(part), "{part}: {warnings:?}");
    }
}
