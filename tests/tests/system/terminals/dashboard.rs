//! A dashboard that cannot be drawn, or fails, gives way to plain lines, and a panic's message stays
//! readable.

use std::process::Command;

use system_tests::programs::on_terminal::{CTRL_C, ENTERED, LEFT, OnTerminal, after_the_dashboard};
use system_tests::programs::running::Ended;
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, complete_checkpoints, metadata, run_dir};

use super::{ENDLESS, has_saved, program};

const SHORT: &str = "--run-id r1 --epochs 3";
const ALL_STEPS: u64 = 90;

/// What burn's log has beyond the saves.
fn lines_in_the_log(root: &std::path::Path) -> usize {
    let log = std::fs::read_to_string(run_dir(root).join("experiment.log")).unwrap();
    log.lines().filter(|line| !line.contains("saved step")).count()
}

#[test]
fn a_panic_in_the_model_is_printed_after_the_dashboard_and_the_state_before_it_is_saved() {
    for split in [Split::Train, Split::Valid] {
        let root = tempfile::tempdir().unwrap();
        let ended =
            OnTerminal::start(&TestHooks::panic(split, 45).given_to(program(root.path(), ENDLESS))).end();
        let shown = after_the_dashboard(&ended);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert_eq!(shown.matches("the batch 45 was told to panic").count(), 2, "hook and error: {shown}");
        assert!(
            shown.contains("error: training stopped by a panic: ") && shown.contains("resume: "),
            "{shown}"
        );
        assert!(!shown.contains("\u{1b}[1;1H") && !shown.contains('\u{2500}'), "drawn: {shown}");
        assert_eq!(ended.stdout.matches(ENTERED).count(), 1);
        let on_exception = checkpoints(root.path()).join("on_exception");
        assert!(std::fs::read_dir(on_exception).unwrap().count() > 0);
        complete_checkpoints(&checkpoints(root.path())).unwrap();
    }
}

#[test]
fn a_panic_in_a_metric_is_printed_after_the_dashboard() {
    let root = tempfile::tempdir().unwrap();
    let hooks = TestHooks { panicking_metric: true, ..TestHooks::default() };
    let ended = OnTerminal::start(&hooks.given_to(program(root.path(), SHORT))).end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(shown.contains("error: training stopped by"), "{shown}");
    assert!(shown.contains("the metric was told to panic"), "{shown}");
    assert!(!shown.contains('\u{2500}'), "drawn: {shown}");
}

#[test]
fn a_wrong_setting_that_is_found_when_training_starts_is_printed_after_the_dashboard() {
    let root = tempfile::tempdir().unwrap();
    let flags = format!("{SHORT} --set primary_metric=\"val_nothing\"");
    let ended = OnTerminal::start(&program(root.path(), &flags)).end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(shown.contains("error: ") && shown.contains("val_nothing"), "{shown}");
}

/// It was shown as lines, all of it.
fn is_shown_as_lines(ended: &Ended, why: &str, root: &std::path::Path) {
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(!ended.stdout.contains(ENTERED), "{ended:?}");
    assert_eq!(ended.stdout.matches("progress is shown as lines").count(), 1, "{ended:?}");
    assert!(ended.stdout.contains(why), "{ended:?}");
    assert!(ended.stdout.contains("epoch 3/3 train 480/480 items"), "{ended:?}");
    assert!(!ended.stdout.contains("panicked"), "{ended:?}");
    assert!(lines_in_the_log(root) < 10, "the log is full");
}

#[test]
fn without_a_controlling_terminal_progress_is_shown_as_lines() {
    let root = tempfile::tempdir().unwrap();
    let line = r#"exec setsid -w "$@" < /dev/null"#;
    let ended = OnTerminal::start_by(&program(root.path(), SHORT), line).end();
    is_shown_as_lines(&ended, "the terminal cannot be used: No such device or address", root.path());
}

#[test]
fn a_program_in_the_background_is_not_stopped_by_its_dashboard() {
    let root = tempfile::tempdir().unwrap();
    // With job control, as an interactive shell has it.
    let line = r#"set -m; "$@" & wait $!"#;
    let ended = OnTerminal::start_by(&program(root.path(), SHORT), line).end();
    is_shown_as_lines(&ended, "the program runs in the background", root.path());
}

#[test]
fn a_dashboard_that_fails_in_its_drawing_gives_way_to_lines_and_training_continues() {
    let root = tempfile::tempdir().unwrap();
    let hooks = TestHooks::fail_in_drawing(Split::Train, 45);
    let ended = OnTerminal::start(&hooks.given_to(program(root.path(), SHORT))).end();
    let shown = after_the_dashboard(&ended);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let warning = "warning: the dashboard has failed, progress is shown as lines now: attempt to subtract with overflow";
    assert_eq!(shown.matches(warning).count(), 1, "{shown}");
    assert!(shown.contains("epoch 2/3 train 480/480 items  loss "), "{shown}");
    assert!(shown.contains(&format!("steps {ALL_STEPS}")) && !shown.contains("panicked"), "{shown}");
    assert!(lines_in_the_log(root.path()) < 10, "the log is full");
}

#[test]
fn a_terminal_that_is_gone_ends_the_dashboard_alone_where_hang_ups_are_ignored() {
    let root = tempfile::tempdir().unwrap();
    let program = program(root.path(), "--run-id r1 --epochs 100");
    let mut command = Command::new("env");
    command.args(["--ignore-signal=HUP"]).args(program.get_args().skip(1));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let line = r#"trap '' HUP; "$@"; echo $? > "$WHERE/status""#;
    let mut running = OnTerminal::start_by(&command, line);
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    let directory = running.close_window();
    let status = || std::fs::read_to_string(directory.path().join("status")).unwrap_or_default();
    let begun = std::time::Instant::now();
    while !status().ends_with('\n') {
        assert!(begun.elapsed().as_secs() < 120, "the program has not ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(status(), "0\n");
    assert_eq!(metadata(&checkpoints(root.path()).join("last.ckpt"))["global_step"], 3000);
    assert!(lines_in_the_log(root.path()) < 20, "the log is full");
}

#[test]
fn a_warning_waits_until_the_dashboard_is_left() {
    let root = tempfile::tempdir().unwrap();
    let flags = format!(r#"{ENDLESS} --set best={{"dirpath":"/proc/no-such-place"}}"#);
    let mut running = OnTerminal::start(&program(root.path(), &flags));
    let failed = "saving step 30 failed";
    let log = run_dir(root.path()).join("experiment.log");
    running
        .wait_for("a failed save", |_| std::fs::read_to_string(&log).is_ok_and(|text| text.contains(failed)));
    running.press(CTRL_C);
    let ended = running.end();
    let (drawn, shown) = ended.stdout.rsplit_once(LEFT).unwrap();
    assert!(!drawn.contains(&format!("warning: {failed}")), "a line in the dashboard");
    assert!(shown.contains(&format!("warning: {failed}")), "{shown}");
}
