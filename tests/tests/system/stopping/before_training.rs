//! A signal between `Trainer::new` and `fit` stops the run before its first step, with its status and the
//! requeue.

use std::process::Command;

use system_tests::programs::running::{Ended, Running, path_with, warmup};
use system_tests::programs::test_hooks::{Gate, TestHooks};
use system_tests::run_files::{checkpoints, files};

const FLAGS: &str = "--epochs 3 --set slurm_requeue=true";

/// A signal in a Slurm job before training. With `opens`, training then starts. Returns what Slurm was asked,
/// too.
fn signalled(signal: &str, opens: bool) -> (Ended, String, Vec<String>) {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let (bin, calls, root) =
        (directory.path().join("bin"), directory.path().join("calls"), directory.path().join("root"));
    std::fs::create_dir(&bin).unwrap();
    let scontrol = bin.join("scontrol");
    std::fs::write(&scontrol, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", calls.display())).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&scontrol).status().unwrap().success());
    let program = warmup(&root, FLAGS);
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program.get_program()).args(program.get_args());
    command.env("PATH", path_with(&bin)).env("SLURM_JOB_ID", "42");
    let hooks = TestHooks { wait_before_training: Some(gate.path().to_path_buf()), ..TestHooks::default() };
    let mut running = Running::start(hooks.given_to(command));
    running.wait_for("the run", |_| gate.is_reached());
    running.send(signal);
    if opens {
        running.wait_for("the signal", |said| said.contains(&format!("SIG{signal}: ")));
        gate.open();
    }
    let ended = running.end();
    let left = files(&root.join("burn_trainer_logs/slurm-42/checkpoint"));
    (ended, std::fs::read_to_string(&calls).unwrap_or_default(), left)
}

#[test]
fn a_signal_stops_the_run_before_its_first_step() {
    for (signal, status, requeued) in [
        ("USR1", 138, "requeue 42\n"),
        ("USR2", 140, "requeue 42\n"),
        ("TERM", 143, ""),
        ("INT", 130, ""),
        ("HUP", 129, ""),
    ] {
        let (ended, calls, left) = signalled(signal, true);
        assert_eq!(ended.code(), Some(status), "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("SIG{signal}: training stops before its first step")),
            "{ended:?}"
        );
        assert!(ended.stderr.contains(&format!("stopped before the last epoch: SIG{signal}")), "{ended:?}");
        assert!(ended.stdout.contains("epochs 0, steps 0,"), "{ended:?}");
        assert_eq!((calls.as_str(), left), (requeued, Vec::new()), "{signal}");
    }
}

#[test]
fn a_program_that_does_not_get_to_training_is_ended_and_its_job_requeued() {
    for (signal, status, requeued) in [("USR1", 138, "requeue 42\n"), ("TERM", 143, "")] {
        let (ended, calls, left) = signalled(signal, false);
        assert_eq!(ended.code(), Some(status), "{ended:?}");
        assert!(ended.stderr.contains("nothing to save"), "{ended:?}");
        assert_eq!((calls.as_str(), left), (requeued, Vec::new()), "{signal}");
    }
}

#[test]
fn a_run_that_is_complete_is_not_stopped() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let flags = "--run-id r1 --epochs 1 --ckpt-path auto";
    Running::start(warmup(directory.path(), flags)).end_well();
    let before = files(&checkpoints(directory.path()));
    let hooks = TestHooks { wait_before_training: Some(gate.path().to_path_buf()), ..TestHooks::default() };
    let mut running = Running::start(hooks.given_to(warmup(directory.path(), flags)));
    running.wait_for("the run", |_| gate.is_reached());
    running.send("TERM");
    running.wait_for("the signal", |said| said.contains("SIGTERM: "));
    gate.open();
    let ended = running.end_well();
    assert!(ended.stdout.contains("nothing to do"), "{ended:?}");
    assert_eq!(files(&checkpoints(directory.path())), before);
}
