//! A full disk: simulated at the storage seam everywhere, and with a small file system in memory where one
//! can be mounted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_ckpt::ErrorKind;
use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use system_tests::models::small::{OnStep, Script};
use system_tests::programs::commands::{burn_ckpt_command, stdout};
use system_tests::programs::running::{Running, programs, warmup};
use system_tests::programs::test_alone::said_alone;
use system_tests::run_files::{checkpoints, compare, complete_checkpoints, files, run_dir, stems};
use system_tests::storage_faults::errors::{EDQUOT, ENOSPC};
use system_tests::storage_faults::{FailingCall, FailingCalls};
use system_tests::{config, train, train_and_keep_all, train_scripted};

/// A disk that takes a part of each write while it is full, and no new name.
#[derive(Default)]
struct FullDisk(AtomicBool);

impl Observer for FullDisk {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        match operation {
            _ if !self.0.load(Ordering::Relaxed) => Verdict::Proceed,
            Operation::Write { bytes, .. } => Verdict::Part(bytes.len() / 2, full()),
            Operation::Reserve(..) => Verdict::Proceed,
            Operation::CreateFile(..) | Operation::CreateDirectory(_) => Verdict::Fail(full()),
            _ => Verdict::Proceed,
        }
    }
}

/// Has the directory, in the process that the test starts.
const FULL: &str = "TEST_FULL_DISK_IN";

#[test]
fn while_the_disk_is_full_nothing_older_is_lost_and_later_all_is_there() {
    let Some(root) = std::env::var_os(FULL) else {
        let root = tempfile::tempdir().unwrap();
        let test = "while_the_disk_is_full_nothing_older_is_lost_and_later_all_is_there";
        let said = said_alone(module_path!(), test, FULL, root.path());
        println!("{said}");
        let warnings = |words: &str| said.lines().filter(|line| line.contains(words)).count();
        assert_eq!(warnings("warning: saving step "), 2, "each failed save: {said}");
        // Of what is tried again, one each: two epochs of it were not written.
        assert_eq!(warnings("metrics.jsonl cannot be written: "), 1, "{said}");
        assert_eq!(warnings("warning: the metric file "), 1, "{said}");
        return;
    };
    let (root, whole) = (Path::new(&root), tempfile::tempdir().unwrap());
    train(config(whole.path(), 4)).unwrap();
    let disk = Arc::new(FullDisk::default());
    let _observation = observe(root, disk.clone());
    let (filled, link) = (Arc::clone(&disk), checkpoints(root).join("last.ckpt"));
    let action = OnStep(Arc::new(move || {
        while fs::metadata(&link).is_err() {
            std::thread::yield_now();
        }
        filled.0.store(true, Ordering::Relaxed);
    }));
    let script = Script { at_step: Some((15, action)), ..Script::default() };
    let result = train_scripted(config(root, 3), script).unwrap();
    assert_eq!(result.failed_saves.len(), 2);
    for (_, error) in &result.failed_saves {
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    }
    assert_eq!(stems(&checkpoints(root).join("last")), ["epoch=0-step=10"]);
    let unfinished: Vec<String> =
        files(&run_dir(root)).into_iter().filter(|name| name.contains("staging")).collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");

    disk.0.store(false, Ordering::Relaxed);
    train(config(root, 4).with_ckpt_path("auto")).unwrap();
    compare(&run_dir(whole.path()), &run_dir(root)).unwrap_or_else(|reason| panic!("{reason}"));
}

/// Runs a script with a file system of its own in memory at `$1`.
fn with_a_small_disk(place: &Path, size: &str, script: &str) -> Option<std::process::Output> {
    let mount = format!("mount -t tmpfs -o size={size} small \"$1\" || exit 77; {script}");
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"])
        .arg(place)
        .arg(programs());
    let output = command.output().ok()?;
    // 1: no namespace may be made here; 77: nothing may be mounted in it.
    let cannot =
        output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).contains("unshare");
    (!cannot).then_some(output)
}

#[test]
fn on_a_small_disk_saves_fail_with_a_reason_and_with_more_room_the_run_is_made_up_for() {
    let (whole, place, out) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Running::start(warmup(whole.path(), "--run-id r1 --epochs 3")).end_well();
    let run = "\"$2/warmup\" --root \"$1\" --run-id r1";
    let copied = out.path().display();
    let script = format!(
        "{run} --epochs 2 >&2; echo status $?; mount -o remount,size=20m small \"$1\" || exit 78; \
         {run} --epochs 3 --ckpt-path auto >&2; echo status $?; cp -r \"$1/.\" \"{copied}\""
    );
    let Some(output) = with_a_small_disk(place.path(), "120k", &script) else {
        // The same is simulated above, everywhere.
        println!("no file system can be mounted here: only the simulated disk is tested");
        return;
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stdout.ends_with("status 0\n"), "{stdout}{stderr}");
    assert!(complete_checkpoints(&checkpoints(out.path())).unwrap() > 0);
    compare(&run_dir(whole.path()), &run_dir(out.path()))
        .unwrap_or_else(|reason| panic!("{reason}: {stderr}"));
}

#[test]
fn a_checkpoint_that_does_not_fit_into_what_is_free_is_said_before_the_first_step() {
    let place = tempfile::tempdir().unwrap();
    // The weights and Adam's state have 21 kB. Where all strategies save weights alone, 7 kB are enough to
    // begin.
    let run = "\"$2/warmup\" --root \"$1\" --epochs 1";
    let weights = r#"--set 'strategies=[{"kind":"last","save_weights_only":true}]'"#;
    let script = format!(
        "{run} --run-id r1; echo status $?; rm -r \"$1\"/*; {run} --run-id r2 {weights}; echo status $?"
    );
    let Some(output) = with_a_small_disk(place.path(), "16k", &script) else {
        println!("no file system can be mounted here");
        return;
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout.matches("status 1").count(), 2, "the saves fail: {stdout}{stderr}");
    let warning = "warning: a checkpoint has 20.8 KiB or more, and ";
    assert_eq!(stderr.matches(warning).count(), 1, "{stderr}");
    assert!(stderr.contains(" free: saves will fail until there is more room"), "{stderr}");
    assert!(stderr.find(warning) < stderr.find("epoch 1/1 train"), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn on_a_full_disk_prune_and_rm_make_room() {
    let calls = FailingCalls::compile();
    for errno in [ENOSPC, EDQUOT] {
        let root = tempfile::tempdir().unwrap();
        train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
        let run = run_dir(root.path());
        let done = |arguments: &[&str]| {
            let mut command = burn_ckpt_command();
            command.arg(arguments[0]).arg(&run).args(&arguments[1..]);
            calls.apply(&mut command, root.path(), FailingCall { call: "write", at: 0, errno });
            stdout(&command.output().unwrap())
        };
        assert!(done(&["prune", "--keep", "last=1"]).contains("removed"));
        assert_eq!(stems(&checkpoints(root.path()).join("last")).len(), 1);
        assert!(!run.join("run.lock").exists());
        done(&["rm", "--yes"]);
        assert!(!run.exists(), "{:?}", files(&run));
    }
}
