//! How progress is shown is chosen by `--progress`, on a terminal and in a pipe.

use std::path::Path;

use system_tests::programs::on_terminal::{CTRL_C, ENTERED, OnTerminal, after_the_dashboard};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::run_files::run_dir;

use super::{ENDLESS, has_saved, program};

const SHORT: &str = "--run-id r1 --epochs 2";
/// Of the lines of progress.
const LINE: &str = "epoch 2/2 train 480/480 items";
/// Saves that cannot be made, for a warning.
const WARNING: &str = r#"--set best={"dirpath":"/proc/no-such-place"}"#;

fn on_terminal(root: &Path, flags: &str) -> Ended {
    OnTerminal::start(&program(root, &format!("{SHORT} {flags}"))).end()
}

fn in_pipe(root: &Path, flags: &str) -> Ended {
    Running::start(warmup(root, &format!("{SHORT} {flags}"))).end()
}

#[test]
fn plain_shows_lines_on_a_terminal() {
    let root = tempfile::tempdir().unwrap();
    let ended = on_terminal(root.path(), "--progress plain");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("starting r1") && ended.stdout.contains(LINE), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn off_shows_results_and_warnings_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (quiet, failing) = (directory.path().join("quiet"), directory.path().join("failing"));
    let ended = in_pipe(&quiet, "--progress off");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("steps 60") && ended.stdout.contains("resume: "), "{ended:?}");

    let ended = in_pipe(&failing, &format!("--progress off {WARNING}"));
    let is_warning = |line: &str| line.starts_with("warning: ") || line.starts_with("saving step ");
    assert!(ended.stderr.lines().count() > 0 && ended.stderr.lines().all(is_warning), "{}", ended.stderr);

    let ended = on_terminal(&directory.path().join("terminal"), "--progress off");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("checkpoints: ") && !ended.stdout.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn off_says_what_stops_a_run() {
    let root = tempfile::tempdir().unwrap();
    let mut running = OnTerminal::start(&program(root.path(), &format!("{ENDLESS} --progress off")));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    running.press(CTRL_C);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    assert!(ended.stdout.contains("SIGINT: saving") && !ended.stdout.contains("starting"), "{ended:?}");
    assert!(ended.stdout.contains("stopped before the last epoch: SIGINT"), "{ended:?}");
}

#[test]
fn a_dashboard_that_cannot_be_drawn_says_why_and_lines_take_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let ended = in_pipe(&directory.path().join("pipe"), "--progress dashboard");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let why = "warning: no dashboard, progress is shown as lines: standard output is not a terminal";
    assert_eq!(ended.stderr.matches(why).count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(LINE) && !ended.stdout.contains('\u{1b}'), "{ended:?}");

    let ended = on_terminal(&directory.path().join("terminal"), "--progress dashboard");
    assert!(after_the_dashboard(&ended).contains("steps 60"), "{ended:?}");
}

#[test]
fn a_terminal_that_shows_escape_sequences_as_text_gets_lines() {
    let root = tempfile::tempdir().unwrap();
    let line = r#"TERM=dumb exec "$@""#;
    let ended = OnTerminal::start_by(&program(root.path(), SHORT), line).end();
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stdout.matches("TERM is dumb").count(), 1, "{ended:?}");
    assert!(ended.stdout.contains(LINE) && !ended.stdout.contains(ENTERED), "{ended:?}");
}

#[test]
fn another_value_is_wrong_usage_that_names_the_four() {
    let root = tempfile::tempdir().unwrap();
    for flag in ["--progress quiet", "--progress=", "--set progress=quiet"] {
        let ended = in_pipe(root.path(), flag);
        assert_eq!(ended.code(), Some(2), "{flag}: {ended:?}");
        let names = ["auto", "dashboard", "plain", "off"];
        assert!(names.iter().all(|name| ended.stderr.contains(name)), "{flag}: {ended:?}");
    }
}

#[test]
fn a_resumed_run_does_not_inherit_it() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(in_pipe(root.path(), "--progress off").stderr, "");
    let mut again = warmup(root.path(), "--epochs 3");
    again.arg("--resume").arg(run_dir(root.path()));
    let ended = Running::start(again).end_well();
    assert!(ended.stderr.contains("resuming r1") && ended.stderr.contains("epoch 3/3 train"), "{ended:?}");
    assert!(!ended.stderr.contains("progress is"), "{ended:?}");
}

#[test]
fn an_evaluation_and_a_search_are_as_quiet_as_the_run() {
    let root = tempfile::tempdir().unwrap();
    let digits = |flags: &str| {
        let flags = format!("--run-id r1 --epochs 1 --set channels=2 --progress off {flags}");
        Running::start(system_tests::programs::running::digits(root.path(), &flags)).end_well()
    };
    let ended = digits("--evaluate best");
    assert!(ended.stdout.contains("evaluated on val"), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let ended = digits("--find-lr");
    assert!(ended.stdout.contains("learning rate"), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let ended = digits("--fast-dev-run");
    assert_eq!((ended.stderr.as_str(), ended.stdout.as_str()), ("", ""));
}
