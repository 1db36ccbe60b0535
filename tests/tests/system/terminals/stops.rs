//! A stop on a terminal is what it is in a pipe: the state is saved, the status is the signal's, and the
//! terminal shows why.

use std::path::Path;
use std::process::Command;

use system_tests::programs::on_terminal::{OnTerminal, after_the_dashboard};
use system_tests::programs::running::{Ended, Running, path_with, printed_command};
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, complete_checkpoints};

use super::{ENDLESS, has_saved, program};

const SIGNALS: [(&str, i32); 5] = [("HUP", 129), ("INT", 130), ("USR1", 138), ("USR2", 140), ("TERM", 143)];

/// What a stopped program shows, on a terminal and in a pipe.
fn says_that_it_was_stopped(ended: &Ended, shown: &str, status: i32, reason: &str, root: &Path) {
    assert_eq!(ended.code(), Some(status), "{ended:?}");
    assert!(shown.contains(&format!("stopped before the last epoch: {reason}")), "{shown}");
    assert!(shown.contains("resume: warmup "), "{shown}");
    assert!(complete_checkpoints(&checkpoints(root)).unwrap() > 0);
    let line = shown.lines().find(|line| line.starts_with("resume: ")).unwrap();
    let ended = Running::start(printed_command(&line.replace("100000", "1"))).end();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

#[test]
fn each_signal_ends_a_run_on_a_terminal_as_it_does_in_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    for (signal, status) in SIGNALS {
        let root = directory.path().join(format!("terminal-{signal}"));
        let mut running = OnTerminal::start(&program(&root, ENDLESS));
        running.wait_for("a checkpoint", |_| has_saved(&root));
        running.send(signal);
        let ended = running.end();
        let shown = after_the_dashboard(&ended);
        says_that_it_was_stopped(&ended, &shown, status, &format!("SIG{signal}"), &root);

        let root = directory.path().join(format!("pipe-{signal}"));
        let mut running = Running::start(program(&root, ENDLESS));
        running.wait_for("a checkpoint", |_| has_saved(&root));
        running.send(signal);
        let ended = running.end();
        let shown = format!("{}{}", ended.stderr, ended.stdout);
        says_that_it_was_stopped(&ended, &shown, status, &format!("SIG{signal}"), &root);
    }
}

#[test]
fn the_key_that_stops_training_is_not_an_end() {
    let root = tempfile::tempdir().unwrap();
    let mut running = OnTerminal::start(&program(root.path(), ENDLESS));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    running.press("q");
    running.wait_for("the question", |shown| shown.contains("Quit"));
    running.press("s");
    let ended = running.end();
    let shown = after_the_dashboard(&ended);
    says_that_it_was_stopped(&ended, &shown, 0, "Stopping training from user input.", root.path());
}

#[test]
fn a_programs_own_stop_is_seen_on_a_terminal_in_the_trainers_loop_and_in_burns() {
    let directory = tempfile::tempdir().unwrap();
    for burns_loop in [false, true] {
        let root = directory.path().join(burns_loop.to_string());
        let hooks = TestHooks { burns_loop, ..TestHooks::stop(Split::Train, 45) };
        let ended = OnTerminal::start(&hooks.given_to(program(&root, ENDLESS))).end();
        let shown = after_the_dashboard(&ended);
        says_that_it_was_stopped(&ended, &shown, 0, "enough is enough", &root);
    }
}

#[test]
fn a_signal_ends_burns_own_loop_on_a_terminal_with_its_status() {
    let root = tempfile::tempdir().unwrap();
    let hooks = TestHooks { burns_loop: true, ..TestHooks::default() };
    let mut running = OnTerminal::start(&hooks.given_to(program(root.path(), ENDLESS)));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    running.send("TERM");
    let ended = running.end();
    says_that_it_was_stopped(&ended, &after_the_dashboard(&ended), 143, "SIGTERM", root.path());
}

#[test]
fn slurms_warning_requeues_a_job_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let (bin, calls) = (directory.path().join("bin"), directory.path().join("calls"));
    std::fs::create_dir(&bin).unwrap();
    let scontrol = bin.join("scontrol");
    std::fs::write(&scontrol, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", calls.display())).unwrap();
    let status = Command::new("chmod").arg("+x").arg(&scontrol).status();
    assert!(status.unwrap().success());
    for signal in ["USR1", "USR2"] {
        let root = directory.path().join(signal);
        let mut command = program(&root, &format!("{ENDLESS} --set slurm_requeue=true"));
        command.env("SLURM_JOB_ID", "42").env("PATH", path_with(&bin));
        let mut running = OnTerminal::start(&command);
        running.wait_for("a checkpoint", |_| has_saved(&root));
        running.send(signal);
        let ended = running.end();
        assert!(after_the_dashboard(&ended).contains("the Slurm job 42 is requeued"), "{ended:?}");
        assert!(ended.code().is_some_and(|code| code > 128), "{ended:?}");
    }
    assert_eq!(std::fs::read_to_string(&calls).unwrap(), "requeue 42\nrequeue 42\n");
}

#[test]
fn a_window_that_is_closed_stops_the_run_and_its_state_is_saved() {
    let root = tempfile::tempdir().unwrap();
    // The shell passes the signal on, as one that is used by hand does, and notes how the program ended.
    let line = r#"trap 'kill -HUP $!' HUP; "$@" <&0 & wait; wait $!; echo $? > "$WHERE/status""#;
    let mut running = OnTerminal::start_by(&program(root.path(), ENDLESS), line);
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    let directory = running.close_window();
    let status = directory.path().join("status");
    let begun = std::time::Instant::now();
    let read = || std::fs::read_to_string(&status).unwrap_or_default();
    while !read().ends_with('\n') {
        assert!(begun.elapsed().as_secs() < 60, "the program has not ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(read(), "129\n");
    assert!(complete_checkpoints(&checkpoints(root.path())).unwrap() > 0);
}
