//! The dashboard's keys: ctrl-c stops a run as it does without a dashboard, and `q` does what it says.

use std::path::Path;

use system_tests::programs::on_terminal::{CTRL_C, OnTerminal, after_the_dashboard};
use system_tests::programs::test_hooks::{Gate, TestHooks};
use system_tests::run_files::{checkpoints, complete_checkpoints, metadata};

use super::{ENDLESS, has_saved, program};

/// Nothing is drawn after the dashboard is left.
fn is_left_for_good(shown: &str) {
    let drawn: Vec<&str> = shown.split("\u{1b}[").skip(1).filter(|code| !code.starts_with("?25h")).collect();
    assert!(drawn.is_empty(), "{drawn:?} in {shown}");
}

#[test]
fn ctrl_c_saves_and_ends_with_its_status() {
    let root = tempfile::tempdir().unwrap();
    let mut running = OnTerminal::start(&program(root.path(), ENDLESS));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    running.press(CTRL_C);
    let ended = running.end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    is_left_for_good(&shown);
    assert!(shown.contains("SIGINT: saving") && shown.contains("before the last epoch: SIGINT"), "{shown}");
    assert!(shown.contains("resume: warmup "), "{shown}");
    let saved = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!(saved["reason"], "last");
    assert!(complete_checkpoints(&checkpoints(root.path())).unwrap() > 0);
}

/// A run that hangs when it is stopped, which a first ctrl-c has stopped.
fn hanging(root: &Path, hang: &Gate) -> OnTerminal {
    let hang_when_stopped = Some(hang.path().to_path_buf());
    let hooks = TestHooks { hang_when_stopped, ..TestHooks::default() };
    let mut running = OnTerminal::start(&hooks.given_to(program(root, ENDLESS)));
    running.wait_for("a checkpoint", |_| has_saved(root));
    running.press(CTRL_C);
    running.wait_for("the save", |_| hang.is_reached());
    // Among the numbers of the dashboard.
    running.wait_for("the signal", |shown| shown.contains("SIGINT: saving"));
    running
}

#[test]
fn a_second_ctrl_c_ends_the_run_at_once_and_leaves_the_dashboard() {
    let (root, hang) = (tempfile::tempdir().unwrap(), Gate::closed());
    let mut running = hanging(root.path(), &hang);
    running.press(CTRL_C);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    is_left_for_good(&after_the_dashboard(&ended));
}

#[test]
fn the_key_that_ends_the_program_ends_it_at_once_and_leaves_the_dashboard() {
    let (root, hang) = (tempfile::tempdir().unwrap(), Gate::closed());
    let mut running = hanging(root.path(), &hang);
    running.press("q");
    running.wait_for("the question", |shown| shown.contains("Quit"));
    running.press("k");
    let ended = running.end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    is_left_for_good(&shown);
    assert!(shown.contains("ended at once") && !shown.contains("panicked"), "{shown}");
}

#[test]
fn the_key_that_cancels_the_question_continues_training() {
    let root = tempfile::tempdir().unwrap();
    let mut running = OnTerminal::start(&program(root.path(), ENDLESS));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    running.press("q");
    running.wait_for("the question", |shown| shown.contains("Quit"));
    running.press("c");
    let step = || metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"].as_u64().unwrap();
    let before = step();
    running.wait_for("more steps", |_| step() > before + 50);
    running.press(CTRL_C);
    assert_eq!(running.end().code(), Some(130));
}
