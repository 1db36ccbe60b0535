//! A device that goes away, or does not answer any more, ends the run with an error that names it, within the
//! time that the configuration allows. The checkpoints are complete then, and the run can be resumed.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use burn_ckpt::Checkpoint;
use burn_ckpt::metadata::RunStart;
use parking_lot::Mutex;
use system_tests::programs::commands::burn_ckpt;
use system_tests::programs::running::{Ended, Running, digits};
use system_tests::run_files::{checkpoints, files, run_dir, stems};
use system_tests::servers::{Cluster, ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK, has_saved};

/// Longer than any test trains.
const LONG: &str = "--run-id r1 --epochs 10000 --save-every-steps 3";
/// What a supervisor takes for "try again later": `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: i32 = 75;
/// Seconds. A machine that has a lot to do answers in that time too.
const TIMEOUT: u64 = 16;

fn training(cluster: &Cluster, root: &Path, arguments: &str) -> Running {
    let timeout = format!("--set device_timeout_seconds={TIMEOUT}.0");
    let mut running = Running::start(cluster.digits(root, &format!("{LONG} {timeout} {arguments}")));
    running.wait_for("a checkpoint", |_| has_saved(root));
    running
}

/// The run ended as one that has lost a device does, and named it.
fn has_lost(ended: &Ended, device: &str, root: &Path) {
    assert_eq!(ended.code(), Some(TRY_AGAIN), "{ended:?}");
    let [error] = ended.errors()[..] else { panic!("not one error: {ended:?}") };
    let named = format!("training stopped because the device {device} is lost");
    assert!(error.contains(&named), "{named} is not in {error}");
    let newest = error.rsplit_once("the newest valid checkpoint is ").unwrap_or_else(|| panic!("{error}")).1;
    assert!(Path::new(newest).starts_with(checkpoints(root)) && Path::new(newest).is_file(), "{error}");
    let verified = burn_ckpt(&[&"verify", &checkpoints(root)]);
    assert!(verified.status.success(), "{verified:?}");
    assert!(ended.stdout.contains("resume: "), "{ended:?}");
}

/// Over WebSocket each of two servers, the first of which has the model; over Iroh the second.
const CLUSTERS: [(&str, usize); 3] =
    [(WEBSOCKET_ON_LOOPBACK, 0), (WEBSOCKET_ON_LOOPBACK, 1), (ON_LOOPBACK, 1)];

/// The run ends in time, and names the server to which this is done. The next cluster is started while a run
/// waits for the answer of its device.
fn is_named_within_the_time_allowed(done: impl Fn(&mut Server) + Sync) {
    let one_trains = Mutex::new(());
    thread::scope(|scope| {
        for (transport, which) in CLUSTERS {
            let (done, one_trains) = (&done, &one_trains);
            scope.spawn(move || {
                let trains = one_trains.lock();
                let mut cluster = Cluster::with(2, transport);
                let root = tempfile::tempdir().unwrap();
                let running = training(&cluster, root.path(), "");
                let device = cluster.device(which);
                done(&mut cluster.servers[which]);
                let since = Instant::now();
                drop(trains);
                let ended = running.end();
                let took = since.elapsed();
                has_lost(&ended, &device, root.path());
                assert!(took < Duration::from_secs(TIMEOUT), "{transport}: {took:?}");
            });
        }
    });
}

#[test]
fn a_server_that_is_killed_is_named_within_the_time_allowed() {
    is_named_within_the_time_allowed(Server::kill);
}

#[test]
fn a_server_that_stands_still_is_named_within_the_time_allowed() {
    is_named_within_the_time_allowed(|server| server.process().stop());
}

#[test]
fn what_was_half_read_leaves_nothing_behind_once_the_run_is_opened_again() {
    let mut cluster = Cluster::of(2);
    let root = tempfile::tempdir().unwrap();
    let running = training(&cluster, root.path(), "");
    cluster.servers[0].process().stop();
    assert_eq!(running.end().code(), Some(TRY_AGAIN));
    let before = stems(&checkpoints(root.path()).join("last"));
    cluster.servers[0].process().send("CONT");
    // As many epochs as are done already: the run is opened and closed.
    let arguments = "--run-id r1 --epochs 1 --ckpt-path auto --set checkpoint_saving=false";
    let _ = Running::start(digits(root.path(), arguments)).end();
    let directory = checkpoints(root.path()).join("last");
    assert_eq!(stems(&directory), before);
    assert!(!files(&directory).iter().any(|name| name.contains(".staging")), "{:?}", files(&directory));
}

#[test]
fn a_run_continues_without_a_device_that_does_not_come_back() {
    let mut cluster = Cluster::of(2);
    let root = tempfile::tempdir().unwrap();
    let arguments = "--run-id r1 --epochs 3 --save-every-steps 3 --restarts 1 --set keep_effective_batch=true \
                     --set limit_train_batches=13 --set limit_valid_batches=2";
    let mut running = Running::start(cluster.digits(root.path(), arguments));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    cluster.servers[1].kill();
    let ended = running.end_well();
    assert!(ended.stderr.contains("the run continues without it"), "{ended:?}");
    // Two batches in every step, as on two devices: 13 batches are 7 steps.
    assert!(ended.stdout.contains("epochs 3, steps 21,"), "{ended:?}");
}

#[test]
fn a_run_that_was_asked_for_another_runs_checkpoint_restarts_from_its_own_newest() {
    let mut cluster = Cluster::of(2);
    let root = tempfile::tempdir().unwrap();
    let limits = "--set limit_train_batches=12 --set limit_valid_batches=2";
    let _ = Running::start(digits(root.path(), &format!("--run-id r0 --epochs 1 {limits}"))).end_well();
    let asked = run_dir(root.path()).with_file_name("r0").join("last");
    let arguments = format!(
        "--run-id r1 --ckpt-path {} --epochs 4 --save-every-steps 3 --restarts 1 {limits}",
        asked.display()
    );
    let mut running = Running::start(cluster.digits(root.path(), &arguments));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    cluster.servers[1].kill();
    let ended = running.end_well();
    assert!(ended.stderr.contains("restarting: restart 1 of 1"), "{ended:?}");
    assert!(ended.stdout.contains("epochs 4,"), "{ended:?}");
    let last = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    let starts = last.metadata().unwrap().starts;
    let [of_r0, asked, restarted] = &starts[..] else { panic!("{starts:?}") };
    let from = |start: &RunStart| start.resumed_from.clone().unwrap_or_default();
    assert_eq!((&*of_r0.run_id, &*from(of_r0)), ("r0", ""));
    assert!(asked.run_id == "r1" && from(asked).contains("r0") && asked.global_step == 12, "{asked:?}");
    let own = restarted.run_id == "r1" && from(restarted).starts_with("last/");
    assert!(own && restarted.global_step > asked.global_step, "{restarted:?}");
}

#[test]
fn a_run_whose_devices_are_all_lost_ends_with_an_error() {
    let mut cluster = Cluster::of(1);
    let root = tempfile::tempdir().unwrap();
    let running = training(&cluster, root.path(), "--restarts 1");
    cluster.servers[0].kill();
    let ended = running.end();
    assert_eq!(ended.code(), Some(TRY_AGAIN), "{ended:?}");
    assert!(ended.stderr.contains("no device of the run can be reached"), "{ended:?}");
}

#[test]
fn the_dashboards_terminal_is_given_back_where_the_run_hangs() {
    let mut cluster = Cluster::of(1);
    let root = tempfile::tempdir().unwrap();
    let program = cluster.digits(root.path(), &format!("{LONG} --set device_timeout_seconds=4.0"));
    let words: Vec<String> = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    script.env("TERM", "xterm-256color");
    let mut running = Running::start(script);
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    cluster.servers[0].process().stop();
    let ended = running.end();
    assert_eq!(ended.code(), Some(TRY_AGAIN), "{ended:?}");
    let (entered, left) = ("\u{1b}[?1049h", "\u{1b}[?1049l");
    let (_, after) = ended.stdout.rsplit_once(left).unwrap_or_else(|| panic!("{ended:?}"));
    assert!(ended.stdout.contains(entered) && after.contains("is lost"), "{ended:?}");
}
