//! A loop that waits for a batch forever, or is in a step that does not end: the state of the last update is
//! saved from outside, the process ends with the signal's status within the exception timeout, and the run
//! resumes to the same bytes.

use std::path::Path;
use std::time::{Duration, Instant};

use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::on_terminal::{OnTerminal, after_the_dashboard};
use system_tests::programs::running::{Ended, Running, resumes_as, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{
    checkpoints, compare, complete_checkpoints, described_state, metadata, run_dir, target,
};

const FLAGS: &str = r#"--run-id r1 --epochs 3 --topk 2 --set on_exception={"timeout_seconds":6.0}"#;
const LIMIT: Duration = Duration::from_secs(6);

/// Sends a signal while the program waits at a gate that is never opened, and measures how long it takes to
/// end.
fn stopped_at(hooks: &TestHooks, gate: &Gate, root: &Path, flags: &str) -> Ended {
    let mut running = Running::start(hooks.given_to(warmup(root, flags)));
    running.wait_for("the batch", |_| gate.is_reached());
    stopped(running)
}

fn stopped(running: Running) -> Ended {
    let begun = Instant::now();
    running.send("TERM");
    let ended = running.end();
    // Under load the process takes a while to start and to end.
    assert!(begun.elapsed() < LIMIT + Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    ended
}

fn says_that_the_state_is_saved(ended: &Ended, step: u64, root: &Path) {
    let line = format!(
        "did not end by itself after SIGTERM: the state of step {step} is saved; threads that still work"
    );
    assert_eq!(ended.stderr.matches(&line).count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("stopped before the last epoch: SIGTERM"), "{ended:?}");
    let saved = metadata(&checkpoints(root).join("last.ckpt"));
    assert_eq!(saved["global_step"], step);
    complete_checkpoints(&checkpoints(root)).unwrap();
}

#[test]
fn a_batch_that_does_not_come_and_a_step_that_does_not_end_cost_nothing_of_the_last_update() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    Running::start(warmup(&whole, FLAGS)).end_well();
    // The loader makes 30 batches for training and 8 for validation in an epoch.
    for (split, batch, step) in [(Split::Load, 50, 41), (Split::Train, 45, 44), (Split::Valid, 4, 30)] {
        let (root, gate) = (directory.path().join(format!("{split:?}")), Gate::closed());
        let ended = stopped_at(&TestHooks::wait(split, batch, &gate), &gate, &root, FLAGS);
        says_that_the_state_is_saved(&ended, step, &root);
        resumes_as(&ended, &root, &run_dir(&whole));
    }
}

#[test]
fn a_run_whose_last_step_is_done_is_done_though_its_loop_does_not_see_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let by_callback = TestHooks { ends_at_step: Some(41), ..TestHooks::default() };
    for (name, flags, hooks, said) in [
        ("limit", " --set max_steps=41", TestHooks::default(), "max_steps: 41 optimizer steps are done"),
        ("callback", "", by_callback, "stop_once_at: this step is the last"),
    ] {
        let [whole, root] = ["whole", "stopped"].map(|run| directory.path().join(format!("{name}-{run}")));
        let flags = format!("{FLAGS}{flags}");
        Running::start(hooks.given_to(warmup(&whole, &flags))).end_well();
        let gate = Gate::closed();
        // The batch after step 41.
        let ends_at_step = hooks.ends_at_step;
        let waiting = TestHooks { ends_at_step, ..TestHooks::wait(Split::Load, 50, &gate) };
        let ended = stopped_at(&waiting, &gate, &root, &flags);
        assert!(ended.stderr.contains("the run is done, and the state of step 41 is saved"), "{ended:?}");
        assert!(!ended.stderr.contains("stopped before") && !ended.stdout.contains("resume: "), "{ended:?}");
        let [expected, found] =
            [&whole, &root].map(|root| described_state(&checkpoints(root).join("last.ckpt")));
        assert_eq!(found, expected);
        let shown = stdout(&burn_ckpt(&[&"show", &run_dir(&root).join("last")]));
        assert!(shown.contains(&format!("done, {said}")) && !shown.contains("SIGTERM"), "{shown}");
        let runs = stdout(&burn_ckpt(&[&"runs", &root.join("burn_trainer_logs"), &"--json"]));
        assert!(runs.contains("\"done\"") && runs.contains(said), "{runs}");
        if ends_at_step.is_none() {
            // The metric files get their last lines. After a callback's end a start trains further.
            let again = Running::start(warmup(&root, &format!("{flags} --ckpt-path auto"))).end_well();
            assert!(again.stdout.contains("nothing to do"), "{again:?}");
            compare(&run_dir(&whole), &run_dir(&root)).unwrap();
        }
    }
}

#[test]
fn a_validation_batch_that_takes_longer_than_a_loop_that_waits_may_is_waited_for() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let flags = FLAGS.replace("6.0", "120.0");
    let hooks = TestHooks::wait(Split::Valid, 4, &gate);
    let mut running = Running::start(hooks.given_to(warmup(root.path(), &flags)));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("TERM");
    // A loop that waits for a batch is ended after 5 seconds.
    std::thread::sleep(Duration::from_secs(6));
    gate.open();
    let ended = running.end();
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    assert!(!ended.stderr.contains("did not end by itself"), "{ended:?}");
}

#[test]
fn a_worker_that_hangs_costs_nothing_of_the_last_update() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let [whole, root] = ["whole", "stopped"].map(|name| directory.path().join(name));
    let flags = format!("{FLAGS} --set num_workers=1");
    Running::start(warmup(&whole, &flags)).end_well();
    let hooks = TestHooks::wait(Split::Load, 50, &gate);
    let mut running = Running::start(hooks.given_to(warmup(&root, &flags)));
    // The 11 batches before it are trained on, which the worker does not wait for.
    let log = run_dir(&root).join("train/epoch-2/Loss.log");
    let logged = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    running.wait_for("the batches before", |_| gate.is_reached() && logged() == 11);
    let ended = stopped(running);
    says_that_the_state_is_saved(&ended, 41, &root);
    resumes_as(&ended, &root, &run_dir(&whole));
}

#[test]
fn a_state_that_is_saved_already_is_not_saved_again() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let flags = format!("{FLAGS} --save-every-steps 1");
    let ended = stopped_at(&TestHooks::wait(Split::Train, 45, &gate), &gate, root.path(), &flags);
    says_that_the_state_is_saved(&ended, 44, root.path());
    let link = target(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!(link, Path::new("last/epoch=1-step=44.ckpt"));
}

#[test]
fn before_the_first_update_there_is_nothing_to_save() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let ended = stopped_at(&TestHooks::wait(Split::Load, 1, &gate), &gate, root.path(), FLAGS);
    assert!(ended.stderr.contains("no optimizer step was done, so there is nothing to save"), "{ended:?}");
    assert!(!ended.stdout.contains("resume: "), "{ended:?}");
}

#[test]
fn batches_that_are_dropped_after_a_resume_do_not_delay_a_stop() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks { burns_loader: true, ..TestHooks::stop(Split::Train, 45) };
    Running::start(hooks.given_to(warmup(root.path(), FLAGS))).end_well();
    let hooks = TestHooks { burns_loader: true, ..TestHooks::wait(Split::Load, 5, &gate) };
    let flags = format!("{FLAGS} --ckpt-path auto");
    let ended = stopped_at(&hooks, &gate, root.path(), &flags);
    assert!(ended.stderr.contains("no optimizer step was done"), "{ended:?}");
    assert!(ended.stdout.contains("resume: "), "the checkpoint is still there: {ended:?}");
}

#[test]
fn burns_own_loop_is_ended_too_and_the_last_epoch_stands() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks { burns_loop: true, ..TestHooks::wait(Split::Train, 45, &gate) };
    let ended = stopped_at(&hooks, &gate, root.path(), FLAGS);
    assert!(ended.stderr.contains("the last epoch that was saved stands"), "{ended:?}");
    assert!(ended.stdout.contains("resume: "), "{ended:?}");
    assert_eq!(metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"], 30);
}

#[test]
fn a_strategy_that_never_answers_is_an_error_that_says_so() {
    let (root, hang) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks { hang_when_stopped: Some(hang.path().to_path_buf()), ..TestHooks::default() };
    let flags = FLAGS.replace("--epochs 3", "--epochs 100000");
    let mut running = Running::start(hooks.given_to(warmup(root.path(), &flags)));
    running.wait_for("a checkpoint", |_| checkpoints(root.path()).join("last.ckpt").exists());
    running.send("TERM");
    let ended = running.end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("its last state may not be on disk"), "{ended:?}");
}

#[test]
fn a_strategy_that_does_not_answer_the_save_from_outside_does_not_keep_the_process() {
    let (root, gate, hang) = (tempfile::tempdir().unwrap(), Gate::closed(), Gate::closed());
    let hang_when_stopped = Some(hang.path().to_path_buf());
    let hooks = TestHooks { hang_when_stopped, ..TestHooks::wait(Split::Train, 45, &gate) };
    let mut running = Running::start(hooks.given_to(warmup(root.path(), FLAGS)));
    running.wait_for("the batch", |_| gate.is_reached());
    let begun = Instant::now();
    running.send("TERM");
    let ended = running.end();
    assert!(begun.elapsed() < LIMIT + Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the newest state is not on disk: a device or a strategy"), "{ended:?}");
    // The end of the epoch before stands.
    assert!(ended.stdout.contains("resume: "), "{ended:?}");
}

#[test]
fn on_a_terminal_the_dashboard_is_left_before_it_is_said() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks::wait(Split::Load, 50, &gate);
    let mut running = OnTerminal::start(&hooks.given_to(warmup(root.path(), FLAGS)));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("TERM");
    let ended = running.end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    assert!(shown.contains("the state of step 41 is saved") && shown.contains("resume: "), "{shown}");
}
