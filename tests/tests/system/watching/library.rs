//! `burn_ckpt::watch` beside a training process: each state once and verified, across a kill and a resume,
//! and its end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn_ckpt::ErrorKind;
use burn_ckpt::watch::{NewCheckpoint, RunState, Watch, WatchEvent};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, copy_tree, last_tensor_byte, metadata, run_dir, stems};
use system_tests::{config, train, train_and_keep_all};

const INTERVAL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(2);

fn watch(root: &Path) -> Watch {
    Watch::new(run_dir(root)).interval(INTERVAL)
}

/// The steps that a watch yields until its end, which must come without an error.
fn steps(watch: Watch) -> Vec<u64> {
    watch.map(|new| new.unwrap().metadata.global_step).collect()
}

/// Looks until something is so, and returns the steps of new checkpoints.
fn poll_until(watch: &mut Watch, what: &str, mut is_so: impl FnMut(&WatchEvent) -> bool) -> Vec<u64> {
    let (begun, mut steps) = (Instant::now(), Vec::new());
    loop {
        let event = watch.poll().unwrap();
        let is_so = is_so(&event);
        if let WatchEvent::New(new) = &event {
            steps.push(new.metadata.global_step);
        }
        if is_so {
            return steps;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not yet, but {event:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn each_state_of_a_run_that_trains_beside_comes_once_and_the_last_one_is_the_end() {
    let root = tempfile::tempdir().unwrap();
    let mut watch = watch(root.path());
    // Before there is a run.
    assert!(matches!(watch.poll().unwrap(), WatchEvent::Waiting(RunState::NotBegun)));
    let flags = r#"--run-id r1 --epochs 5 --topk 9 --save-every-steps 10"#;
    let running = Running::start(warmup(root.path(), flags));
    let seen = steps(watch);
    let ended = running.end_well();
    assert!(seen.is_sorted() && seen.last() == Some(&150), "{seen:?}, {ended:?}");
    let mut once = seen.clone();
    once.dedup();
    // A state that is best and last, and one that was saved within an epoch.
    assert_eq!(once, seen);
    for stem in stems(&checkpoints(root.path()).join("last")) {
        let step =
            metadata(&checkpoints(root.path()).join(format!("last/{stem}.ckpt")))["global_step"].as_u64();
        assert!(seen.contains(&step.unwrap()), "{stem}: {seen:?}");
    }
}

#[test]
fn a_run_that_is_killed_is_waited_for_until_it_is_resumed_and_done() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let flags = "--run-id r1 --epochs 3";
    let mut running =
        Running::start(TestHooks::wait(Split::Train, 45, &gate).given_to(warmup(root.path(), flags)));
    let mut watch = watch(root.path()).name("last");
    let first = poll_until(&mut watch, "the first epoch", |event| matches!(event, WatchEvent::New(_)));
    running.wait_for("the batch", |_| gate.is_reached());
    let running_state = |event: &WatchEvent| matches!(event, WatchEvent::Waiting(RunState::Running(holder)) if holder.starts_with("process "));
    poll_until(&mut watch, "who writes", running_state);
    running.kill();
    let killed = |event: &WatchEvent| matches!(event, WatchEvent::Waiting(RunState::Stopped(why)) if why.contains("killed"));
    poll_until(&mut watch, "the kill", killed);
    let resumed = Running::start(warmup(root.path(), &format!("{flags} --ckpt-path auto")));
    let rest = steps(watch);
    resumed.end_well();
    assert_eq!(first, [30]);
    assert!(rest.is_sorted() && rest.last() == Some(&90) && !rest.contains(&30), "{rest:?}");
}

#[test]
fn a_run_that_is_stopped_is_the_end_where_that_is_asked_for() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let command =
        TestHooks::wait(Split::Train, 45, &gate).given_to(warmup(root.path(), "--run-id r1 --epochs 3"));
    let mut running = Running::start(command);
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("TERM");
    gate.open();
    assert_eq!(running.end().code(), Some(143));
    let mut watch = watch(root.path()).end_when_stopped(true);
    let mut state = None;
    let steps = poll_until(&mut watch, "the end", |event| {
        if let WatchEvent::Ended(ended) = event {
            state = Some(ended.clone());
        }
        state.is_some()
    });
    // The signal is seen some batches later.
    let saved = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!(steps.last().copied(), saved["global_step"].as_u64());
    assert!(matches!(&state, Some(RunState::Stopped(why)) if why.contains("SIGTERM")), "{state:?}");
}

#[test]
fn what_was_there_comes_first_in_its_order_or_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.0], 1).unwrap();
    assert_eq!(steps(watch(root.path())), [10, 20, 30]);
    assert_eq!(steps(watch(root.path()).name("best")), [20]);
    assert_eq!(steps(watch(root.path()).name("best_val_score")), [20]);
    assert_eq!(steps(watch(root.path()).name("last")), [30]);
    assert_eq!(steps(watch(root.path()).only_new(true)), [0; 0]);
    // Also by the name of its directory of checkpoints, and in a copy without links.
    let directory = Watch::new(checkpoints(root.path())).interval(INTERVAL);
    assert_eq!(steps(directory), [10, 20, 30]);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(root.path(), copy.path());
    for link in ["best_val_score.ckpt", "last.ckpt"] {
        let link = checkpoints(copy.path()).join(link);
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(link).unwrap();
        }
    }
    assert_eq!(steps(watch(copy.path()).name("best")), [20]);
}

#[test]
fn checkpoints_outside_of_the_runs_directory_come_too_and_those_of_another_run_do_not() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let strategies = || [StrategyConfig::Last(Last::new().with_dirpath(outside.path()))];
    for run in ["r2", "r1"] {
        train(config(root.path(), 1).with_run_id(run).with_strategies(strategies())).unwrap();
    }
    let all: Vec<NewCheckpoint> = watch(root.path()).map(Result::unwrap).collect();
    let runs: Vec<&str> = all.iter().map(|new| new.metadata.run_id.as_str()).collect();
    assert_eq!(runs, ["r1"]);
    assert_eq!(all[0].checkpoint.path().parent(), Some(outside.path().canonicalize().unwrap().as_path()));
    // The path of a run need not end with its id, as `.` does not.
    let event = Watch::new(checkpoints(root.path()).join("..")).poll().unwrap();
    assert!(matches!(&event, WatchEvent::New(new) if new.metadata.run_id == "r1"), "{event:?}");
}

#[test]
fn checkpoints_of_a_run_of_the_same_id_below_another_root_do_not_come() {
    let [root, other, outside] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for (place, name) in [(&root, "ours"), (&other, "theirs")] {
        let last = Last::new().with_dirpath(outside.path()).with_filename(name);
        train(config(place.path(), 1).with_strategies([StrategyConfig::Last(last)])).unwrap();
    }
    for (place, name) in [(&root, "ours.ckpt"), (&other, "theirs.ckpt")] {
        let all: Vec<NewCheckpoint> = watch(place.path()).map(Result::unwrap).collect();
        let names: Vec<&Path> =
            all.iter().map(|new| Path::new(new.checkpoint.path().file_name().unwrap())).collect();
        assert_eq!(names, [Path::new(name)]);
    }
}

#[test]
fn a_damaged_checkpoint_is_an_error_once_and_the_others_come() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    let damaged = checkpoints(root.path()).join("last/epoch=1-step=20.ckpt");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let (mut steps, mut errors) = (Vec::new(), Vec::new());
    for new in watch(root.path()) {
        match new {
            Ok(new) => steps.push(new.metadata.global_step),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(steps, [10, 30]);
    let kinds: Vec<ErrorKind> = errors.iter().map(burn_ckpt::Error::kind).collect();
    assert_eq!(kinds, [ErrorKind::Damaged], "{errors:?}");
    assert!(errors[0].to_string().contains("epoch=1-step=20.ckpt"), "{}", errors[0]);
}

#[test]
fn an_error_comes_at_once_and_a_final_one_ends_the_watch() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    // A pause would be longer than the test.
    let slow = |path: PathBuf| Watch::new(path).interval(Duration::from_hours(24));
    let of_a_file = slow(checkpoints(root.path()).join("last/epoch=1-step=20.ckpt"));
    let kinds =
        |watch: Watch| watch.map(|new| new.map(drop).map_err(|error| error.kind())).collect::<Vec<_>>();
    assert_eq!(kinds(of_a_file), [Err(ErrorKind::Io)]);
    assert_eq!(kinds(slow(run_dir(root.path())).name("bset")), [Err(ErrorKind::NotFound)]);
    std::fs::write(checkpoints(root.path()).join("last/epoch=1-step=20.ckpt"), "damaged").unwrap();
    let mut damaged = slow(run_dir(root.path()));
    let is_error: Vec<bool> = damaged.by_ref().take(2).map(|new| new.is_err()).collect();
    assert!(is_error.contains(&true), "{is_error:?}");
}

/// Looks until the watch ends or waits, and counts the errors.
fn end_of(mut watch: Watch) -> (RunState, Vec<ErrorKind>) {
    let mut errors = Vec::new();
    loop {
        match watch.poll() {
            Ok(WatchEvent::Ended(state) | WatchEvent::Waiting(state)) => return (state, errors),
            Ok(_) => {}
            Err(error) => errors.push(error.kind()),
        }
        assert!(errors.len() < 9, "{errors:?}");
    }
}

#[test]
fn a_run_whose_newest_checkpoint_is_damaged_is_not_one_that_has_not_begun() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0, 2.0], 1).unwrap();
    let directory = checkpoints(root.path());
    let damage = |name: &str| std::fs::write(directory.join(name), "half of a header").unwrap();
    damage("last/epoch=1-step=20.ckpt");
    // The one before has not all epochs, and the log says no more.
    let (state, errors) = end_of(watch(root.path()));
    assert_eq!((state, errors.len()), (RunState::Ended, 1));
    // The rest too: that it has no checkpoint would be wrong.
    damage("last/epoch=0-step=10.ckpt");
    damage("best/epoch=0-step=10.ckpt");
    let (state, errors) = end_of(watch(root.path()).end_when_stopped(true));
    // Two names of one file are one.
    assert_eq!(errors.len(), 2);
    assert!(
        matches!(&state, RunState::Stopped(why) if why.starts_with("none of its checkpoints can be read: ")),
        "{state:?}"
    );
}

#[test]
fn the_best_of_several_is_an_error_that_names_them() {
    let root = tempfile::tempdir().unwrap();
    let best = |metric: &str| StrategyConfig::Best(Best::new().with_metric(metric));
    train(config(root.path(), 1).with_strategies([best("val_loss"), best("train_loss")])).unwrap();
    let error = watch(root.path()).name("best").poll().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for name in ["best_val_loss.ckpt", "best_train_loss.ckpt"] {
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = watch(root.path()).name("bset").poll().unwrap_err();
    assert!(error.to_string().contains("\"bset\""), "{error}");
}
