//! Tables on terminals: no line is wider than the terminal, colours only where they are wanted, and a file
//! gets everything.

use std::path::Path;
use std::process::Command;

use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, stdout};
use system_tests::programs::on_terminal::OnTerminal;
use system_tests::{config, train};

/// Prints the width of the widest line, by Unicode's own table of wide characters.
const WIDEST: &str = "import sys, unicodedata
wide = lambda c: 0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in 'WF' else 1
print(max(sum(map(wide, line)) for line in open(sys.argv[1], encoding='utf-8').read().split('\\n')))";

/// What a terminal of so many rows and columns shows. Standard error is not on it.
pub fn shown(rows: usize, columns: usize, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = burn_ckpt_command();
    command.args(arguments);
    let variables: String = environment.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
    let line = format!("stty rows {rows} cols {columns}\nexec env {variables} \"$@\" 2>\"$WHERE/said\"");
    let terminal = OnTerminal::start_by(&command, &line);
    terminal.end().stdout.replace('\r', "")
}

pub fn without_colors(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap().to_owned();
    first + &parts.map(|part| part.split_once('m').unwrap().1).collect::<String>()
}

pub fn widest(text: &str) -> usize {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), without_colors(text)).unwrap();
    let output = Command::new("python3").args(["-c", WIDEST]).arg(file.path()).output().unwrap();
    stdout(&output).trim().parse().unwrap()
}

/// Runs with long and wide names, and many settings that differ.
fn some_runs(root: &Path) -> String {
    let names = ["画像モデルの学習-一回目", "a-run-with-a-rather-long-name-2026-11-29T02-10-35", "r3"];
    for (seed, name) in (1..).zip(names) {
        let config = config(root, 1).with_run_id(name).with_seed(seed).with_min_epochs(seed as usize % 2);
        train(config.with_max_steps(100 * seed)).unwrap();
    }
    root.join("burn_trainer_logs").display().to_string()
}

#[test]
fn every_table_fits_its_terminal() {
    let root = tempfile::tempdir().unwrap();
    let logs = some_runs(root.path());
    let last = format!("{logs}/r3/last");
    let other = format!("{logs}/画像モデルの学習-一回目/last");
    let verbs: [&[&str]; 6] = [
        &["runs", &logs],
        &["runs", &logs, "--columns", "run,max_steps,started,why,status,size,best,age"],
        &["ls", &logs],
        &["show", &last, "--all"],
        &["diff", &last, &other],
        &["env"],
    ];
    for arguments in verbs {
        for (rows, columns, limit) in [(24, 80, 80), (0, 0, 80), (5, 20, 20), (24, 40, 40)] {
            let text = shown(rows, columns, arguments, &[]);
            // Other lines than those of tables are wrapped by the terminal: paths, and headings.
            let is_other = |line: &&str| {
                let is_heading = |end: &str| line.ends_with(end);
                line.contains(&*root.path().to_string_lossy())
                    || [":", "numbers", " scalars", "none was read)"].into_iter().any(is_heading)
            };
            let table: Vec<&str> = text.lines().filter(|line| !is_other(line)).collect();
            let found = widest(&table.join("\n"));
            assert!(found <= limit && !table.is_empty(), "{arguments:?} on {columns}: {found}\n{text}");
        }
    }
}

#[test]
fn a_pipe_gets_every_column_and_no_colour() {
    let root = tempfile::tempdir().unwrap();
    let logs = some_runs(root.path());
    // All of them but the age, which changes meanwhile.
    let columns = "run,status,epochs,steps,best,time,size,started,max_steps,seed";
    let piped = stdout(&burn_ckpt(&[&"runs", &logs, &"--columns", &columns]));
    assert!(widest(&piped) > 100 && !piped.contains('\x1b') && !piped.contains(".."), "{piped}");
    let on_terminal = shown(24, 200, &["runs", &logs, "--columns", columns], &[]);
    assert_eq!(without_colors(&on_terminal), piped);
    assert!(on_terminal.contains("\x1b[1mrun\x1b[0m"), "{on_terminal:?}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = shown(24, 200, &["runs", &logs], &[environment]);
        assert!(!plain.contains('\x1b'), "{environment:?}: {plain:?}");
    }
    // An empty variable counts as unset: <https://no-color.org>.
    assert!(shown(24, 200, &["runs", &logs], &[("NO_COLOR", "")]).contains('\x1b'));
}

#[test]
fn columns_that_are_dropped_are_named() {
    let root = tempfile::tempdir().unwrap();
    let logs = some_runs(root.path());
    let mut command = burn_ckpt_command();
    command.args(["runs", &logs]);
    let ended = OnTerminal::start_by(&command, "stty rows 24 cols 60\nexec \"$@\"").end();
    let text = without_colors(&ended.stdout.replace('\r', ""));
    let heading: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    let note = text.lines().last().unwrap();
    assert!(
        note.starts_with("note: the terminal has no room for the columns ") && note.ends_with("add --json"),
        "{text}"
    );
    for column in ["size", "time", "age", "max_steps"] {
        assert!(heading.contains(&column) != note.contains(column), "{column}: {text}");
    }
    assert!(heading.starts_with(&["run", "status"]) && note.contains("size"), "{text}");
}

#[test]
fn each_column_of_a_log_that_is_dropped_has_a_name() {
    let root = tempfile::tempdir().unwrap();
    let logs = some_runs(root.path());
    let mut command = burn_ckpt_command();
    command.args(["log", &format!("{logs}/r3")]);
    let ended = OnTerminal::start_by(&command, "stty rows 24 cols 5\nexec \"$@\"").end();
    let text = without_colors(&ended.stdout.replace('\r', ""));
    let (_, dropped) = text.split_once("no room for the columns ").unwrap();
    let dropped: Vec<&str> = dropped.split(':').next().unwrap().split(", ").collect();
    assert!(dropped.contains(&"best") && dropped.contains(&"ended"), "{text}");
    assert!(dropped.iter().all(|name| !name.is_empty()), "{text}");
}

#[test]
fn names_of_a_log_control_no_terminal_and_a_file_gets_them_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = root.path().join("burn_trainer_logs/r1");
    let path = run.join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let line =
        r#"{"step":10,"epoch":0,"split":"train","scope":"epoch","metrics":{"a\u001b]0;b\u0007\u009b2J":1}}"#;
    std::fs::write(&path, format!("{log}{line}\n")).unwrap();
    let run = run.display().to_string();
    let (name, escaped) = ("a\u{1b}]0;b\u{7}\u{9b}2J", r"a\u{1b}]0;b\u{7}\u{9b}2J");
    let controls = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{9b}']);
    let verbs: [&[&str]; 5] = [
        &["csv", &run],
        &["csv", &run, "--json"],
        &["log", &run],
        &["plot", &run, name],
        &["report", &run, "-o", "-"],
    ];
    for arguments in verbs {
        let text = shown(24, 400, arguments, &[("NO_COLOR", "1")]);
        assert!(!controls(&text) && text.contains("]0;b"), "{arguments:?}: {text:?}");
    }
    assert!(shown(24, 80, &["csv", &run], &[]).lines().next().unwrap().ends_with(escaped));
    let piped = stdout(&burn_ckpt(&[&"csv", &run]));
    assert!(piped.lines().next().unwrap().ends_with(name), "{piped:?}");
}
