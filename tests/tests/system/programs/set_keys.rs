//! The programs' help, with the keys of `--set`; and what a value of it may be.

use system_tests::programs::commands::{burn_ckpt, ended_with, stdout, train_example};
use system_tests::programs::running::warmup;
use system_tests::run_files::{checkpoints, metadata};

/// The line of a key in a program's help, as words.
fn words_of(help: &str, key: &str) -> String {
    let line = help.lines().find(|line| line.split_whitespace().next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("no {key} in {help}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_lists_the_keys_with_types_and_defaults() {
    let root = tempfile::tempdir().unwrap();
    let digits = stdout(&train_example(root.path(), &["digits", "--help"]));
    for line in [
        "channels 16 (a whole number from 0)",
        "dropout 0.2 (a number)",
        "data digits (digits|mnist)",
        "max_epochs 10 (a whole number from 0)",
        "name null (a text, or null)",
        "overwrite false (true or false)",
    ] {
        assert_eq!(words_of(&digits, line.split(' ').next().unwrap()), line);
    }
    // As far as the first line has it.
    for start in [
        "best.topk 1 (a whole number above 0, or \"all\")",
        "best.metric null (a name (\"val_loss\"), or ",
        "max_time null (a number of seconds above 0, ",
        "limit_train_batches null (a number of batches (10), ",
        "init_from null (a path (\"runs/a/best\"), ",
    ] {
        let found = words_of(&digits, start.split(' ').next().unwrap());
        assert!(found.starts_with(start), "{start}: {digits}");
    }
    assert!(!digits.contains("(JSON, or null)"), "{digits}");
    assert!(digits.contains("The program:") && digits.contains("The trainer:") && digits.contains("--set <"));
    let char_lm = stdout(&train_example(root.path(), &["char-lm", "--help"]));
    assert_eq!(words_of(&char_lm, "width"), "width null (a whole number from 0, or null)");
    assert!(words_of(&char_lm, "size").starts_with("size tiny (tiny|small|"), "{char_lm}");
}

/// The columns of a page of help that is not on a terminal.
const HELP_COLUMNS: usize = 100;

#[test]
fn help_is_wrapped() {
    let root = tempfile::tempdir().unwrap();
    let of_all = stdout(&burn_ckpt(&[&"--help"]));
    let verbs =
        of_all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(verb, _)| verb);
    let verbs: Vec<&str> = verbs.filter(|verb| !verb.is_empty() && *verb != "help").collect();
    assert!(verbs.contains(&"ls") && verbs.contains(&"plot"), "{verbs:?}");
    let mut pages: Vec<String> =
        verbs.iter().map(|verb| stdout(&burn_ckpt(&[verb, &"--help"]))).chain([of_all.clone()]).collect();
    pages.push(stdout(&warmup(root.path(), "--help").output().unwrap()));
    pages.push(stdout(&train_example(root.path(), &["char-lm", "--help"])));
    for page in pages {
        // A word that is longer stays whole: a list of what a setting takes.
        let wide = page.lines().find(|line| line.chars().count() > HELP_COLUMNS && line.trim().contains(' '));
        assert_eq!(wide, None, "{page}");
    }
    // A text without a layout of its own fills its lines: none but the last of a paragraph is short.
    let page = stdout(&burn_ckpt(&[&"watch", &"--help"]));
    let text: Vec<&str> = page.lines().skip(2).take_while(|line| !line.is_empty()).collect();
    let (_, full) = text.split_last().unwrap();
    assert!(full.len() > 3 && full.iter().all(|line| line.len() > HELP_COLUMNS - 20), "{page}");
}

#[test]
fn a_bare_word_is_a_text() {
    let root = tempfile::tempdir().unwrap();
    let set = ["--set", "run_id=r1", "--set", "data=digits", "--set", "name=5", "--set", "project=a try"];
    stdout(&train_example(root.path(), &[&["--epochs", "1"][..], &set].concat()));
    let described = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!((&described["name"], &described["project"]), (&"5".into(), &"a try".into()));
    assert_eq!(described["hparams"]["data"], "digits");
}

#[test]
fn what_is_null_is_set_as_a_whole_and_help_and_the_error_say_how() {
    let root = tempfile::tempdir().unwrap();
    let help = stdout(&warmup(root.path(), "--help").output().unwrap());
    assert!(
        words_of(&help, "early_stopping")
            .starts_with("early_stopping null (JSON with metric, mode, patience,"),
        "{help}"
    );
    let run = |set: &str| warmup(root.path(), "--epochs 1").args(["--set", set]).output().unwrap();
    let (_, err) = ended_with(&run("early_stopping.metric=val_loss"), 2);
    let (_, example) = err.split_once("--set '").unwrap();
    let (example, _) = example.split_once('\'').unwrap();
    ended_with(&run(example), 0);
}
