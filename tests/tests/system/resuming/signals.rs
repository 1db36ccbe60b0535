//! A signal ends a run after the step in progress, with its state saved, and the printed command resumes it
//! as if it had never stopped. A second ctrl-c ends it at once.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::RunLock;
use burn_trainer::config::LockMode;
use system_tests::programs::commands::{workspace, xtask_train_command};
use system_tests::programs::running::{Ended, Running, printed_command, resumes_as, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{
    checkpoints, compare, complete_checkpoints, files, metadata, run_dir, stems, stopped_exactly, target,
};

/// 30 batches and as many steps in an epoch, 8 more batches in its validation.
const FLAGS: &str = "--run-id r1 --epochs 3 --topk 2";
const STEPS: usize = 90;
/// In the middle of the second epoch.
const STOP: usize = 45;
const SAVED: &str = "last/epoch=1-step=45";
/// More epochs than a test trains.
const ENDLESS: &str = "1000000";

/// Trains to the end. Returns the directory of the run.
fn undisturbed(root: &Path, flags: &str) -> PathBuf {
    let ended = Running::start(warmup(root, flags)).end_well();
    assert!(ended.stdout.contains(&format!("steps {STEPS}")), "{ended:?}");
    run_dir(root)
}

/// A program gets a signal while it waits at one of its batches, and then continues.
fn signalled(command: Command, at: (Split, usize), signal: &str) -> Ended {
    let gate = Gate::closed();
    let mut running = Running::start(TestHooks::wait(at.0, at.1, &gate).given_to(command));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send(signal);
    running.wait_for("the signal", |said| said.contains(&format!("SIG{signal}: saving")));
    gate.open();
    running.end()
}

/// What a run that was stopped has to leave.
fn left_whole(root: &Path) {
    assert!(complete_checkpoints(&checkpoints(root)).unwrap() > 0);
    let left = files(&run_dir(root));
    assert!(!left.iter().any(|name| name.contains(".staging") || name == "run.lock"), "{left:?}");
}

#[test]
fn each_signal_saves_the_step_in_progress_and_the_printed_command_resumes_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    for (signal, status) in [("HUP", 129), ("INT", 130), ("USR1", 138), ("USR2", 140), ("TERM", 143)] {
        let root = directory.path().join(signal);
        // The tests may be started with nohup.
        let mut command = Command::new("env");
        let program = warmup(&root, FLAGS);
        command.arg("--default-signal=HUP").arg(program.get_program()).args(program.get_args());
        let ended = signalled(command, (Split::Train, STOP), signal);
        assert_eq!(ended.code(), Some(status), "{ended:?}");
        assert!(ended.stderr.contains(&format!("before the last epoch: SIG{signal}")), "{ended:?}");
        left_whole(&root);
        assert_eq!(target(&checkpoints(&root).join("last.ckpt")), Path::new(&format!("{SAVED}.ckpt")));
        let saved = metadata(&checkpoints(&root).join("last.ckpt"));
        assert_eq!((&saved["global_step"], &saved["reason"]), (&STOP.into(), &"last".into()));
        stopped_exactly(&run_dir(&root), 1).unwrap();
        resumes_as(&ended, &root, &whole);
    }
}

#[test]
fn in_a_validation_a_signal_saves_the_state_before_it() {
    let directory = tempfile::tempdir().unwrap();
    // The first epoch is not among the two best. (Its state is saved under another name than in an
    // undisturbed run, `epoch=0-step=30-v1`, as the state before its validation has the first name.)
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("stopped");
    let ended = signalled(warmup(&root, FLAGS), (Split::Valid, 4), "TERM");
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    left_whole(&root);
    assert_eq!(stems(&checkpoints(&root).join("last")), ["epoch=0-step=30"]);
    resumes_as(&ended, &root, &whole);
}

#[test]
fn a_signal_before_the_first_step_ends_the_program_and_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let auto = format!("{FLAGS} --ckpt-path auto");
    // As early as can be, when the run's directory is there, and when everything is but the first step.
    let root = directory.path().join("stopped");
    for moment in 0..3 {
        let gate = Gate::closed();
        let command = TestHooks::wait(Split::Train, 1, &gate).given_to(warmup(&root, &auto));
        let mut running = Running::start(command);
        match moment {
            0 => {}
            1 => running.wait_for("the lock", |_| run_dir(&root).join("run.lock").exists()),
            _ => running.wait_for("the first batch", |_| gate.is_reached()),
        }
        running.send("TERM");
        if moment == 2 {
            running.wait_for("the signal", |said| said.contains("SIGTERM: saving"));
        }
        gate.open();
        let ended = running.end();
        let by_signal = ended.signal() == Some(15) && moment < 2;
        assert!(by_signal || ended.code() == Some(143), "{ended:?}");
        // The first step was done, or nothing was.
        let said = ended.stdout.contains("resume: ") || ended.stderr.contains("there is no checkpoint");
        assert!(by_signal || said, "{ended:?}");
    }
    Running::start(warmup(&root, &auto)).end_well();
    compare(&whole, &run_dir(&root)).unwrap();
}

#[test]
fn a_hang_up_that_is_ignored_does_not_stop_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let program = warmup(directory.path(), FLAGS);
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" HUP; exec "$@""#, "sh"]).arg(program.get_program());
    command.args(program.get_args());
    let mut running = Running::start(TestHooks::wait(Split::Train, STOP, &gate).given_to(command));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("HUP");
    gate.open();
    let ended = running.end_well();
    assert!(
        !ended.stderr.contains("SIGHUP") && ended.stdout.contains(&format!("steps {STEPS}")),
        "{ended:?}"
    );
}

#[test]
fn where_nothing_else_saves_a_stop_it_is_saved_as_an_exception_is() {
    let directory = tempfile::tempdir().unwrap();
    let flags = r#"--run-id r1 --epochs 3 --set strategies=[{"kind":"on_exception"}]"#;
    let whole = undisturbed(&directory.path().join("whole"), flags);
    let root = directory.path().join("stopped");
    let ended = signalled(warmup(&root, flags), (Split::Train, STOP), "TERM");
    assert_eq!(ended.code(), Some(143), "{ended:?}");
    left_whole(&root);
    let [saved] = &stems(&checkpoints(&root))[..] else { panic!("{:?}", files(&root)) };
    assert!(saved.starts_with("on_exception/"), "{saved}");
    let saved = metadata(&checkpoints(&root).join(format!("{saved}.ckpt")));
    assert_eq!((&saved["global_step"], &saved["reason"]), (&STOP.into(), &"interrupted: SIGTERM".into()));
    let ended = Running::start(printed_command(&ended.stdout)).end_well();
    assert!(ended.stdout.contains(&format!("steps {STEPS}")), "{ended:?}");
    // A run to its end leaves no checkpoint here, but its metrics.
    for name in files(&whole).iter().filter(|name| name.ends_with("Loss.log")) {
        let read = |run: &Path| std::fs::read_to_string(run.join(name)).unwrap();
        assert_eq!(read(&run_dir(&root)), read(&whole), "{name}");
    }
}

#[test]
fn without_saving_a_signal_ends_the_run_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let flags = format!("{FLAGS} --set checkpoint_saving=false");
    for root in ["a", "b"].map(|name| directory.path().join(name)) {
        let ended = signalled(warmup(&root, &flags), (Split::Train, STOP), "TERM");
        assert_eq!(ended.code(), Some(143), "{ended:?}");
        assert_eq!(files(&checkpoints(&root)), Vec::<String>::new());
        assert!(!ended.stdout.contains("resume: "), "{ended:?}");
        assert!(!run_dir(&root).join("run.lock").exists());
    }
}

/// After an immediate end: no process holds the run, and it resumes from its newest complete checkpoint.
fn resumes_from_its_newest_checkpoint(root: &Path, whole: &Path) {
    let layout = RunLayout::new(root, "burn_trainer_logs", "r1").unwrap();
    drop(RunLock::acquire(layout.run_dir(), LockMode::Required).unwrap());
    Running::start(warmup(root, &format!("{FLAGS} --ckpt-path auto"))).end_well();
    compare(whole, &run_dir(root)).unwrap();
}

#[test]
fn a_second_interrupt_ends_a_run_at_once_whose_save_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    for first in ["TERM", "INT"] {
        let root = directory.path().join(first);
        let (batch, hang) = (Gate::closed(), Gate::closed());
        let hang_when_stopped = Some(hang.path().to_path_buf());
        let hooks = TestHooks { hang_when_stopped, ..TestHooks::wait(Split::Train, STOP, &batch) };
        let mut running = Running::start(hooks.given_to(warmup(&root, FLAGS)));
        running.wait_for("the batch", |_| batch.is_reached());
        running.send(first);
        running.wait_for("the signal", |said| said.contains("ends at once"));
        batch.open();
        running.wait_for("the save", |_| hang.is_reached());
        // Neither another signal nor the same one again ends it but SIGINT.
        running.send("TERM");
        running.send("USR1");
        running.send("INT");
        let ended = running.end();
        assert_eq!(ended.code(), Some(130), "{ended:?}");
        resumes_from_its_newest_checkpoint(&root, &whole);
    }
}

#[test]
fn a_second_interrupt_ends_a_run_at_once_in_the_middle_of_a_save() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("stopped");
    let mut command = warmup(&root, FLAGS);
    command.args(["--save-every-steps", "1"]);
    let gate = Gate::closed();
    let mut running = Running::start(TestHooks::wait(Split::Train, STOP, &gate).given_to(command));
    running.wait_for("the batch", |_| gate.is_reached());
    running.send("INT");
    running.wait_for("the signal", |said| said.contains("SIGINT: saving"));
    gate.open();
    // The save may be over before it is seen; then it has ended with the same status.
    running.wait_for_a_save_or_the_end(&run_dir(&root));
    running.send_until_the_end("INT");
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    complete_checkpoints(&checkpoints(&root)).unwrap();
    resumes_from_its_newest_checkpoint(&root, &whole);
}

#[test]
fn a_second_interrupt_ends_a_run_at_once_whose_messages_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let whole = undisturbed(&directory.path().join("whole"), FLAGS);
    let root = directory.path().join("stopped");
    // A pipe that is kept full after its first line, so that writing another one to it waits.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let mut command = Command::new("sh");
    let program = warmup(&root, FLAGS);
    // The shell puts the pipe in the place of the file that messages usually go to.
    command.args(["-c", r#"exec "$@" 2>&0"#, "sh"]).arg(program.get_program()).args(program.get_args());
    let mut running = Running::start_with_input(command, writer.into());
    let mut reader = BufReader::with_capacity(1, reader);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "starting r1\n");
    let filler = std::thread::spawn(move || while filling.write_all(&[0]).is_ok() {});
    running.wait_for("the first metrics", |_| run_dir(&root).join("train/epoch-1/Loss.log").exists());
    running.send_until_the_end("INT");
    let ended = running.end();
    drop(reader);
    filler.join().unwrap();
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    resumes_from_its_newest_checkpoint(&root, &whole);
}

#[test]
fn ctrl_c_reaches_the_program_that_xtask_has_become_and_its_command_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "stopped"].map(|name| directory.path().join(name));
    let start = |root: &Path, epochs: &str| {
        let flags = ["--root", root.to_str().unwrap(), "--run-id", "r1", "--epochs", epochs];
        let saves = ["--set=batch_size=64", "--save-every-steps", "1"];
        Running::start(xtask_train_command(directory.path(), &[&flags[..], &saves].concat()))
    };
    // It cannot end before the signal.
    let mut running = start(&root, ENDLESS);
    running.wait_for("the first checkpoint", |_| checkpoints(&root).join("last.ckpt").exists());
    running.send("INT");
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    left_whole(&root);
    stopped_exactly(&run_dir(&root), 1).unwrap();
    let stopped_in = metadata(&checkpoints(&root).join("last.ckpt"))["epoch"].as_u64().unwrap();
    let epochs = (stopped_in + 2).to_string();
    start(&whole, &epochs).end_well();
    let mut command = printed_command(&ended.stdout.replace(ENDLESS, &epochs));
    // Where cargo knows the alias.
    command.current_dir(workspace());
    Running::start(command).end_well();
    compare(&run_dir(&whole), &run_dir(&root)).unwrap();
}
