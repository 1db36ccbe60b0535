//! What `burn-ckpt runs` says of how a run ended: what its files say, and "unknown" where they do not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_ckpt::plumbing::RunLock;
use burn_trainer::callbacks::EarlyStopping;
use burn_trainer::config::LockMode;
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::metadata;
use system_tests::{config, train, train_scored};

fn of(root: &Path, run: &str) -> (String, String) {
    let text = stdout(&burn_ckpt(&[&"runs", &root, &"--json"]));
    let runs: Value = serde_json::from_str(&text).unwrap();
    let run = runs.as_array().unwrap().iter().find(|found| found["run"] == run);
    let run = run.unwrap_or_else(|| panic!("{text}"));
    ["status", "why"].map(|key| run[key].as_str().unwrap().to_owned()).into()
}

fn logs(root: &Path) -> PathBuf {
    root.join("burn_trainer_logs")
}

/// A program that waits in its second epoch.
fn waiting(root: &Path, run: &str, gate: &Gate) -> Running {
    let hooks = TestHooks::wait(Split::Train, 40, gate);
    let mut running = Running::start(hooks.given_to(warmup(root, &format!("--run-id {run} --epochs 2"))));
    running.wait_for("its batch", |_| gate.is_reached());
    // The end of the first epoch is saved beside the second one.
    let last = logs(root).join(run).join("checkpoint/last.ckpt");
    running.wait_for("its save", |_| last.exists());
    running
}

#[test]
fn a_run_is_running_while_its_process_lives_and_then_stopped_or_killed() {
    let root = tempfile::tempdir().unwrap();
    let (gate, other) = (Gate::closed(), Gate::closed());
    let mut running = waiting(root.path(), "a", &gate);
    let (status, why) = of(root.path(), "a");
    assert_eq!(status, "running");
    assert!(why.starts_with(&format!("process {} on host ", running.id())), "{why}");
    // Looking at it twice at a time is not taken for a process that trains.
    let lock = fs::read(logs(root.path()).join("a/run.lock")).unwrap();
    running.send("TERM");
    running.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
    gate.open();
    assert_eq!(running.end().code(), Some(143));
    assert_eq!(of(root.path(), "a"), ("stopped".to_owned(), "SIGTERM".to_owned()));

    let running = waiting(root.path(), "b", &other);
    assert_eq!(of(root.path(), "b").0, "running");
    assert_eq!(running.kill().signal(), Some(9));
    let (status, why) = of(root.path(), "b");
    assert_eq!(status, "killed");
    assert!(why.contains("its lock file is left"), "{why}");

    // A later start of the stopped run that was killed before its first save.
    fs::write(logs(root.path()).join("a/run.lock"), lock).unwrap();
    assert_eq!(of(root.path(), "a").0, "killed");
    // The next start goes to the end.
    Running::start(warmup(root.path(), "--run-id b --epochs 2 --ckpt-path auto")).end_well();
    assert_eq!(of(root.path(), "b"), ("done".to_owned(), String::new()));
}

#[test]
fn a_run_that_is_stopped_where_its_state_was_saved_already_is_stopped() {
    let root = tempfile::tempdir().unwrap();
    let run = logs(root.path()).join("a");
    let hooks = TestHooks { stop_in_save: Some(7), stop_by_signal: true, ..TestHooks::default() };
    let program = warmup(root.path(), "--run-id a --epochs 2 --save-every-steps 7");
    let ended = Running::start(hooks.given_to(program)).end();
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    assert_eq!(metadata(&run.join("checkpoint/last.ckpt"))["global_step"], 7);
    assert_eq!(of(root.path(), "a"), ("stopped".to_owned(), "SIGTERM".to_owned()));
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("{\"ended\":\"stopped: SIGTERM\",\"step\":7"), "{last}");
    let mut watch = burn_ckpt_command();
    watch.args(["watch", "--interval", "0.01", "--until-stopped"]).arg(&run);
    let (_, err) = ended_with(&watch.output().unwrap(), 1);
    assert!(err.contains("no process writes to it: stopped: SIGTERM"), "{err}");
    // The line is gone when the run resumes.
    Running::start(warmup(root.path(), "--run-id a --epochs 2 --ckpt-path auto")).end_well();
    assert!(!fs::read_to_string(run.join("metrics.jsonl")).unwrap().contains("ended"));
    assert_eq!(of(root.path(), "a").0, "done");
}

#[test]
fn a_run_that_is_stopped_from_outside_or_in_burns_loop_is_stopped() {
    let root = tempfile::tempdir().unwrap();
    let flags = r#"--epochs 3 --set on_exception={"timeout_seconds":6.0}"#;
    for (id, burns_loop, more) in [
        ("hangs", false, "--save-every-steps 44"),
        ("burns", true, ""),
        ("burns_hangs", true, ""),
        ("no_lock", false, "--save-every-steps 44 --set lock=off"),
    ] {
        let gate = Gate::closed();
        let hooks = TestHooks { burns_loop, ..TestHooks::wait(Split::Train, 45, &gate) };
        let program = warmup(root.path(), &format!("--run-id {id} {flags} {more}"));
        let mut running = Running::start(hooks.given_to(program));
        running.wait_for("its batch", |_| gate.is_reached());
        let last = logs(root.path()).join(id).join("checkpoint/last.ckpt");
        running.wait_for("its save", |_| last.exists());
        running.send("TERM");
        if id == "burns" {
            running.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
            gate.open();
        }
        assert_eq!(running.end().code(), Some(143), "{id}");
        // It can train again, and no other process would see it.
        let (word, why) =
            if id == "no_lock" { ("unknown", "it trains without a lock") } else { ("stopped", "SIGTERM") };
        assert_eq!(of(root.path(), id), (word.to_owned(), why.to_owned()), "{id}");
    }
}

#[test]
fn what_changes_nothing_leaves_the_sign_of_a_kill() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    waiting(root.path(), "a", &gate).kill();
    let run = logs(root.path()).join("a");
    let lock = || {
        let path = run.join("run.lock");
        (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap())
    };
    let left = lock();
    let is_as_it_was = |after: &str| {
        assert_eq!(lock(), left, "{after}");
        assert_eq!(of(root.path(), "a").0, "killed", "{after}");
    };
    is_as_it_was("the kill");
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run]), 2);
    assert!(err.contains("add --yes"), "{err}");
    is_as_it_was("a removal that was not confirmed");
    ended_with(&burn_ckpt(&[&"prune", &run, &"--keep", &"last=9"]), 0);
    is_as_it_was("prune");
    let refused = Running::start(warmup(root.path(), "--run-id a --epochs 2")).end();
    assert!(refused.stderr.contains("has checkpoints already"), "{refused:?}");
    is_as_it_was("a start that is an error");
    // One that trains ends the run.
    Running::start(warmup(root.path(), "--run-id a --epochs 2 --ckpt-path auto")).end_well();
    assert!(!run.join("run.lock").exists());
    assert_eq!(of(root.path(), "a").0, "done");
}

#[test]
fn a_verb_that_is_killed_while_it_holds_the_lock_is_not_a_run_that_was_killed() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    Running::start(warmup(root.path(), "--run-id done --epochs 1")).end_well();
    waiting(root.path(), "killed", &gate).kill();
    for run in ["done", "killed"] {
        let path = logs(root.path()).join(run);
        let lock = RunLock::acquire_to_tidy(&path, LockMode::Required).unwrap();
        let (status, holder) = of(root.path(), run);
        assert_eq!(status, "running");
        assert!(holder.starts_with(&format!("process {} on host", std::process::id())), "{holder}");
        let written = fs::read(path.join("run.lock")).unwrap();
        let modified = fs::metadata(path.join("run.lock")).unwrap().modified().unwrap();
        drop(lock);
        // What the system leaves of a process that ends without a word.
        fs::write(path.join("run.lock"), written).unwrap();
        fs::File::options().write(true).open(path.join("run.lock")).unwrap().set_modified(modified).unwrap();
        assert_eq!(of(root.path(), run).0, run);
        // The next one leaves what there was before.
        drop(RunLock::acquire_to_tidy(&path, LockMode::Required).unwrap());
        assert_eq!(of(root.path(), run).0, run);
        assert_eq!(path.join("run.lock").exists(), run == "killed");
    }
}

#[test]
fn a_run_that_was_done_and_is_killed_while_it_trains_further_is_killed() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    Running::start(warmup(root.path(), "--run-id a --epochs 1")).end_well();
    assert_eq!(of(root.path(), "a").0, "done");
    let further = warmup(root.path(), "--run-id a --epochs 2 --ckpt-path auto");
    let mut running = Running::start(TestHooks::wait(Split::Train, 5, &gate).given_to(further));
    running.wait_for("its batch", |_| gate.is_reached());
    running.kill();
    let (status, why) = of(root.path(), "a");
    assert_eq!(status, "killed");
    assert!(why.contains("its lock file is left"), "{why}");
    // The watch says the same, and does not end with "it is done".
    let mut watch = burn_ckpt_command();
    watch.args(["watch", "--interval", "0.01", "--until-stopped"]).arg(logs(root.path()).join("a"));
    let (_, err) = ended_with(&watch.output().unwrap(), 1);
    assert!(err.contains("it is not done, and no process writes to it: its process was killed"), "{err}");
    Running::start(warmup(root.path(), "--run-id a --epochs 2 --ckpt-path auto")).end_well();
    assert_eq!(of(root.path(), "a"), ("done".to_owned(), String::new()));
}

#[test]
fn a_run_that_failed_says_why() {
    let root = tempfile::tempdir().unwrap();
    let command = TestHooks::panic(Split::Train, 40).given_to(warmup(root.path(), "--run-id a --epochs 2"));
    assert_ne!(Running::start(command).end().code(), Some(0));
    let (status, why) = of(root.path(), "a");
    assert_eq!(status, "failed");
    assert!(!why.is_empty(), "{why}");
    let saved = fs::read_dir(logs(root.path()).join("a/checkpoint/on_exception")).unwrap();
    let names = saved
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "json"));
    let described: Value = serde_json::from_str(&fs::read_to_string(names.unwrap()).unwrap()).unwrap();
    assert_eq!(described["reason"], format!("exception: {why}"));
}

#[test]
fn a_run_that_a_limit_or_early_stopping_has_ended_is_done() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 9).with_run_id("steps").with_max_steps(15)).unwrap();
    let early = config(root.path(), 9).with_run_id("early").with_primary_metric("val_loss");
    let early = early.with_early_stopping(EarlyStopping::new("val_loss").with_threshold(1e9));
    train(early).unwrap();
    train(config(root.path(), 9).with_run_id("time").with_max_time(Duration::from_nanos(1))).unwrap();
    train(config(root.path(), 1).with_run_id("whole").with_max_steps(10)).unwrap();
    for (run, expected) in [
        ("steps", "max_steps: 15 optimizer steps are done"),
        ("time", "max_time: "),
        ("early", "early stopping: val_loss is "),
        ("whole", ""),
    ] {
        let (status, why) = of(root.path(), run);
        assert_eq!((status.as_str(), why.is_empty()), ("done", expected.is_empty()), "{run}: {why}");
        assert!(why.starts_with(expected), "{run}: {why}");
    }
    // A checkpoint shows it too, and a run that resumes no longer has it.
    let last = logs(root.path()).join("early/checkpoint/last.ckpt");
    let shown = stdout(&burn_ckpt(&[&"show", &last]));
    let ended = shown.lines().find(|line| line.trim_start().starts_with("ended "));
    assert!(ended.unwrap().contains("done, early stopping: val_loss is "), "{shown}");
    train(config(root.path(), 9).with_run_id("steps").with_max_steps(90).with_ckpt_path("auto")).unwrap();
    assert_eq!(of(root.path(), "steps"), ("done".to_owned(), String::new()));
}

#[test]
fn runs_says_that_a_metric_has_not_improved() {
    let root = tempfile::tempdir().unwrap();
    let patience = r#"--set early_stopping={"metric":"val_loss","patience":1,"min_delta":1e9}"#;
    let ended = Running::start(warmup(root.path(), &format!("--run-id a --epochs 9 {patience}"))).end_well();
    let said = "early stopping ended the run after 2 epochs: val_loss has not improved for 1 validation\n";
    assert!(ended.stdout.contains(said), "{ended:?}");
    let why = "early stopping: val_loss has not improved for 1 validation".to_owned();
    assert_eq!(of(root.path(), "a"), ("done".to_owned(), why));
}

#[test]
fn where_the_newest_checkpoint_says_nothing_the_end_is_unknown() {
    let root = tempfile::tempdir().unwrap();
    // The run is at its end, and this state is from its middle.
    train_scored(config(root.path(), 3).with_primary_metric("val_score"), &[1.0, 2.0, 3.0]).unwrap();
    let checkpoints = logs(root.path()).join("r1/checkpoint");
    fs::remove_dir_all(checkpoints.join("last")).unwrap();
    for name in ["last.ckpt", "last.ckpt.metadata.json"] {
        fs::remove_file(checkpoints.join(name)).unwrap();
    }
    let (status, why) = of(root.path(), "r1");
    assert_eq!(
        (status.as_str(), why.as_str()),
        ("unknown", "its newest checkpoint does not say how it ended")
    );
}

#[test]
fn a_directory_of_anything_has_a_line_for_each() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    for run in ["whole", "closed", "damaged", "partly"] {
        train(config(root.path(), 2).with_run_id(run)).unwrap();
    }
    let logs = logs(root.path());
    fs::create_dir(logs.join("notes")).unwrap();
    fs::create_dir_all(logs.join("empty/checkpoint")).unwrap();
    fs::create_dir(logs.join("started")).unwrap();
    fs::write(logs.join("started/experiment.log"), "").unwrap();
    fs::create_dir(logs.join(".hidden")).unwrap();
    fs::write(logs.join("a-file"), "").unwrap();
    std::os::unix::fs::symlink("gone", logs.join("dangling")).unwrap();
    let cut = |path: PathBuf| fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
    cut(logs.join("damaged/checkpoint/last/epoch=1-step=20.ckpt"));
    fs::remove_dir_all(logs.join("damaged/checkpoint/best")).unwrap();
    // A file of its own: both names would be damaged.
    let copy = logs.join("partly/checkpoint/last/copy.ckpt");
    fs::write(copy, "not a checkpoint").unwrap();
    let closed = logs.join("closed/checkpoint");
    fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
    let mut command = burn_ckpt_command();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Root may read everything.
        command.uid(65534).gid(65534);
    }
    let (out, err) = ended_with(&command.arg("runs").arg(&logs).arg("--json").output().unwrap(), 1);
    fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
    assert!(err.contains("closed/checkpoint") && err.contains("Permission denied"), "{err}");
    let runs: Value = serde_json::from_str(&out).unwrap();
    let said: Vec<(&Value, &Value)> =
        runs.as_array().unwrap().iter().map(|run| (&run["run"], &run["status"])).collect();
    let expected = [
        ("closed", "unreadable"),
        ("damaged", "damaged"),
        ("dangling", "unreadable"),
        ("empty", "never saved"),
        ("notes", "not a run"),
        ("partly", "done"),
        ("started", "never saved"),
        ("whole", "done"),
    ]
    .map(|(run, status)| (json!(run), json!(status)));
    assert_eq!(said, expected.iter().map(|(run, status)| (run, status)).collect::<Vec<_>>(), "{out}");
    assert_eq!(runs[5]["why"], "1 of 3 checkpoints not whole");
    let (table, _) = ended_with(&burn_ckpt(&[&"runs", &logs]), 1);
    assert_eq!(table.lines().count(), 9, "{table}");
}
