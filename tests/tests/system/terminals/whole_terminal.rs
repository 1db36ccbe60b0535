//! However a run ends below the dashboard, the terminal is as the shell needs it, and what was printed is
//! readable.

use std::process::Command;

use system_tests::programs::in_tmux::InTmux;
use system_tests::programs::on_terminal::OnTerminal;
use system_tests::programs::test_hooks::{Action, Gate, Split, TestHooks};
use system_tests::run_files::run_dir;

use super::{ENDLESS, has_saved, program};

const SHORT: &str = "--run-id r1 --epochs 3";

/// A program with these hooks, started by hand.
fn started(hooks: &TestHooks, flags: &str, root: &std::path::Path) -> InTmux {
    let terminal = InTmux::start(30, 100, &hooks.given_to(program(root, flags)));
    terminal.type_line("./program; echo status $?");
    terminal
}

fn ends_with(terminal: &InTmux, status: i32) -> String {
    let line = format!("status {status}");
    let is_over = |screen: &str| screen.lines().any(|line| line.starts_with("status "));
    terminal.wait_for("the end", |screen| !terminal.is_full_screen() && is_over(screen));
    let shown = terminal.all();
    assert!(shown.contains(&line), "{shown}");
    terminal.is_whole();
    shown
}

fn at(action: Action) -> TestHooks {
    TestHooks { at_batch: Some((Split::Train, 45, action)), ..TestHooks::default() }
}

#[test]
fn a_panic_and_an_exit_in_the_middle_of_training_leave_a_whole_terminal() {
    let root = tempfile::tempdir().unwrap();
    let terminal = started(&at(Action::Panic), ENDLESS, &root.path().join("panic"));
    let shown = ends_with(&terminal, 1);
    assert_eq!(shown.matches("the batch 45 was told to panic").count(), 2, "hook and error: {shown}");

    let terminal = started(&at(Action::Exit(7)), ENDLESS, &root.path().join("exit"));
    let shown = ends_with(&terminal, 7);
    assert!(shown.contains("the batch 45 was told to exit"), "{shown}");
}

#[test]
fn each_signal_that_ends_a_run_leaves_a_whole_terminal_also_where_runs_do_not_handle_it() {
    let directory = tempfile::tempdir().unwrap();
    for (signal, handled, status) in [
        ("TERM", true, 143),
        ("HUP", true, 129),
        ("INT", true, 130),
        ("TERM", false, 143),
        ("HUP", false, 129),
        ("QUIT", true, 131),
    ] {
        let root = directory.path().join(format!("{signal}-{handled}"));
        let flags = format!("{ENDLESS} --set handle_signals={handled}");
        let terminal = InTmux::start(30, 100, &program(&root, &flags));
        terminal.type_line("sh -c 'echo $$ > process; exec ./program'; echo status $?");
        terminal.wait_for("a checkpoint", |_| has_saved(&root) && terminal.is_full_screen());
        let id = std::fs::read_to_string(terminal.directory().join("process")).unwrap();
        let sent = Command::new("kill").args([&format!("-{signal}"), id.trim()]).status();
        assert!(sent.unwrap().success());
        ends_with(&terminal, status);
    }
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_the_run_continues_with_lines() {
    let root = tempfile::tempdir().unwrap();
    let terminal = InTmux::start(30, 100, &program(root.path(), ENDLESS));
    terminal.type_line("./program");
    terminal.wait_for("a checkpoint", |_| has_saved(root.path()) && terminal.is_full_screen());
    terminal.press("C-z");
    terminal.wait_for("the shell", |screen| screen.contains("Stopped") || screen.contains("Suspended"));
    terminal.is_whole();
    terminal.type_line("fg");
    terminal.wait_for("lines", |screen| screen.contains(" train 480/480 items"));
    assert!(!terminal.is_full_screen());
    terminal.press("C-c");
    terminal.wait_for("the end", |screen| screen.contains("stopped before the last epoch: SIGINT"));
    let shown = terminal.all();
    assert_eq!(
        shown.matches("progress is shown as lines now: the program was suspended").count(),
        1,
        "{shown}"
    );
    let (before, _) = shown.split_once("progress is shown as lines now").unwrap();
    assert!(before.contains("\n  epoch  train loss  "), "the dashboard's epochs, before the lines: {shown}");
    terminal.is_whole();
}

#[test]
fn what_is_printed_below_the_dashboard_does_not_garble_it_and_comes_after_it_in_its_order() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks { prints: Some(20), ..TestHooks::wait(Split::Train, 45, &gate) };
    let flags = format!(r#"{SHORT} --save-every-steps 5 --set best={{"dirpath":"/proc/no-such-place"}}"#);
    let terminal = started(&hooks, &flags, root.path());
    terminal.wait_for("the gate", |screen| gate.is_reached() && screen.contains("1 warning"));
    let screen = terminal.screen();
    assert!(!screen.contains("on standard"), "{screen}");
    assert!(screen.contains("Status: 1 warning"), "{screen}");
    let rows: Vec<&str> = screen.lines().collect();
    assert!(rows[0].starts_with('\u{250c}') && rows[0].contains("Controls"), "not scrolled: {screen}");
    gate.open();
    let shown = ends_with(&terminal, 1);
    let wanted: Vec<String> = (1..=20)
        .flat_map(|batch| ["output", "error"].map(|stream| format!("batch {batch} on standard {stream}")))
        .collect();
    let found: Vec<&str> = shown.lines().filter(|line| line.contains("on standard")).collect();
    assert_eq!(found, wanted);
    let warning = shown.find("warning: saving step 30 failed").unwrap();
    assert!(shown.find("batch 20 on standard error").unwrap() < warning, "{shown}");
    let log = std::fs::read_to_string(run_dir(root.path()).join("experiment.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn metrics_of_a_named_validation_set_are_listed_below_the_metric_itself() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    // In the second epoch, after a validation.
    let hooks = TestHooks::wait(Split::Train, 45, &gate);
    let terminal =
        InTmux::start(40, 120, &hooks.given_to(program(root.path(), "--epochs 3 --set everything=true")));
    terminal.type_line("./program");
    terminal.wait_for("the second epoch", |screen| {
        let rows: Vec<&str> = screen.lines().collect();
        let place = |name: &str| rows.iter().position(|row| row.starts_with(&format!("\u{2502} {name} ")));
        match (place("Loss"), place("trained Loss"), place("Accuracy")) {
            (Some(loss), Some(on_set), Some(accuracy)) => {
                assert!(loss < on_set && on_set < accuracy, "{screen}");
                gate.is_reached() && rows[on_set + 1].contains("Valid epoch ")
            }
            _ => false,
        }
    });
}

#[test]
fn the_epochs_are_a_table_that_fits_the_terminal_when_the_dashboard_is_left() {
    let root = tempfile::tempdir().unwrap();
    for (columns, has) in
        [(40, "val loss"), (60, "val accuracy %"), (80, "train loss"), (130, "train learning rate")]
    {
        let run = format!("--run-id r{columns} --epochs 3");
        let terminal = InTmux::start(24, columns, &program(root.path(), &run));
        terminal.type_line("./program; echo status $?");
        terminal.wait_for("the end", |screen| screen.lines().any(|line| line.starts_with("status ")));
        let shown = terminal.all();
        let rows: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("  epoch  ")).collect();
        assert!(rows[0].contains(has), "{columns}: {shown}");
        for (epoch, row) in (1..=3).zip(&rows[1..]) {
            assert!(
                row.starts_with(&format!("      {epoch}  ")) && row.len() <= columns,
                "{columns}: {shown}"
            );
        }
        let log = format!(": burn-ckpt log {}", root.path().join("burn_trainer_logs").display());
        assert_eq!(shown.contains(&log), columns < 130, "{columns}: {shown}");
    }
    // With those of the process before.
    let terminal = InTmux::start(24, 130, &program(root.path(), "--run-id r130 --epochs 4 --ckpt-path auto"));
    terminal.type_line("./program; echo status $?");
    terminal.wait_for("the end", |screen| screen.lines().any(|line| line.starts_with("status ")));
    let shown = terminal.all();
    let rows: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("  epoch  ")).collect();
    let (first, last) = (rows[1], rows[4]);
    assert!(first.starts_with("      1  ") && first.ends_with(" -"), "without its time: {shown}");
    assert_eq!(first.split_whitespace().filter(|cell| *cell == "-").count(), 1, "{shown}");
    assert!(last.starts_with("      4  ") && last.ends_with(" s"), "{shown}");
    // Lines have shown them already.
    let ended = OnTerminal::start(&program(root.path(), "--run-id plain --progress plain")).end();
    assert!(!ended.stdout.contains("  epoch  "), "{ended:?}");
}
