//! `burn-ckpt ls`: every checkpoint of a run once, in order, with its links; whole ones, broken ones, and
//! links that lead nowhere.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use system_tests::programs::commands::{build, burn_ckpt, burn_ckpt_command, ended_with, stderr, stdout};
use system_tests::run_files::{checkpoints, copy_tree, links_as_files, metadata, metadata_path, run_dir};
use system_tests::{config, train, train_and_keep_all, train_scored};

/// The rows of a table as words, without the heading.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .skip(1)
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

fn listed(directory: &Path) -> Vec<Value> {
    let text = stdout(&burn_ckpt(&[&"ls", &directory, &"--json"]));
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

fn of_run(directory: &Path) -> Vec<Value> {
    let runs = listed(directory);
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0]["checkpoints"].as_array().unwrap().clone()
}

fn names(checkpoints: &[Value]) -> Vec<&str> {
    checkpoints.iter().map(|checkpoint| checkpoint["file"].as_str().unwrap()).collect()
}

#[test]
fn runs_beside_the_logs_hide_none_in_the_logs() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    copy_tree(&run_dir(root.path()), &root.path().join("copy"));
    assert_eq!(listed(root.path()).len(), 2);
    let (_, err) = ended_with(&burn_ckpt(&[&"verify", &root.path()]), 0);
    assert!(err.contains("4 checkpoints"), "{err}");
    let runs = stdout(&burn_ckpt(&[&"runs", &root.path(), &"--json"]));
    let runs: Value = serde_json::from_str(&runs).unwrap();
    let statuses: Vec<&str> =
        runs.as_array().unwrap().iter().filter_map(|run| run["status"].as_str()).collect();
    assert_eq!(statuses, ["done", "done"]);
}

#[test]
fn every_checkpoint_has_a_line_oldest_first() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.5], 1).unwrap();
    let run = run_dir(root.path());
    let table = stdout(&burn_ckpt(&[&"ls", &run]));
    let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heading, ["file", "epoch", "step", "val_score", "size", "age", "links", "state"]);
    let rows = rows(&table);
    let first_four: Vec<&[&str]> = rows.iter().map(|row| &row[..4]).collect();
    assert_eq!(
        first_four,
        [
            ["last/epoch=0-step=10.ckpt", "0", "10", "3.000"],
            ["best/epoch=1-step=20.ckpt", "1", "20", "1.000"],
            ["last/epoch=1-step=20.ckpt", "1", "20", "1.000"],
            ["last/epoch=2-step=30.ckpt", "2", "30", "2.500"],
        ]
    );
    assert!(rows.iter().all(|row| row.last() == Some(&"whole")), "{table}");
    let links: Vec<bool> =
        rows.iter().map(|row| row.contains(&"best_val_score") || row.contains(&"last")).collect();
    assert_eq!(links, [false, true, false, true], "{table}");
    assert!(table.lines().all(|line| line.len() < 120 && line == line.trim_end()), "{table}");
}

/// A run of the example, which logs a loss and an accuracy of both splits.
#[test]
fn the_metric_that_ranks_has_a_column_however_it_is_set() {
    let digits = build(&["digits"]).join("digits");
    let best = r#"strategies=[{"kind": "best", "metric": "train_accuracy"}]"#;
    for (run, primary, more) in [
        ("name", "primary_metric=train_accuracy", "seed=1"),
        ("object", r#"primary_metric={"name": "train_accuracy", "mode": "max"}"#, "seed=1"),
        ("strategy", "primary_metric=null", best),
    ] {
        let root = tempfile::tempdir().unwrap();
        let few = "limit_train_batches=2";
        let train = ["--epochs", "1", "--run-id", run, "--set", primary, "--set", more, "--set", few];
        stdout(&Command::new(&digits).args(train).current_dir(root.path()).output().unwrap());
        let table = stdout(&burn_ckpt(&[&"ls", &root.path().join("burn_trainer_logs").join(run)]));
        let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(heading[3..6], ["train_accuracy", "val_loss", "val_accuracy"], "{run}: {table}");
    }
}

#[test]
fn the_json_has_what_the_metadata_files_say() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, f64::NAN], 1).unwrap();
    let checkpoints = of_run(&run_dir(root.path()));
    assert_eq!(checkpoints.len(), 3);
    for checkpoint in &checkpoints {
        let path = Path::new(checkpoint["path"].as_str().unwrap());
        let described = metadata(path);
        for key in [
            "run_id",
            "epoch",
            "global_step",
            "metrics",
            "reason",
            "checkpoint_timestamp",
            "checkpoint_checksum",
        ] {
            assert_eq!(checkpoint[key], described[key], "{key}");
        }
        assert_eq!(checkpoint["size_bytes"], fs::metadata(path).unwrap().len());
        assert_eq!((&checkpoint["whole"], &checkpoint["problem"]), (&Value::Bool(true), &Value::Null));
    }
    assert_eq!(checkpoints[2]["metrics"]["val_score"], "NaN");
    assert_eq!(checkpoints[2]["links"], serde_json::json!(["last"]));
}

#[test]
fn a_run_is_named_by_its_directory_its_checkpoint_directory_and_from_within() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let (run, inner) = (run_dir(root.path()), checkpoints(root.path()));
    let expected = ["best/epoch=1-step=20.ckpt", "last/epoch=1-step=20.ckpt"];
    for directory in [&run, &inner] {
        assert_eq!(names(&of_run(directory)), expected);
    }
    for directory in [&run, &inner] {
        let mut command = burn_ckpt_command();
        let output = command.args(["ls", "--json"]).current_dir(directory).output().unwrap();
        let runs: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(
            (&runs[0]["run"], names(runs[0]["checkpoints"].as_array().unwrap()).len()),
            (&Value::from("r1"), 2)
        );
    }
    assert_eq!(names(&of_run(&inner.join("last"))), ["epoch=1-step=20.ckpt"]);
}

#[test]
fn a_directory_of_runs_lists_each_under_its_name() {
    let root = tempfile::tempdir().unwrap();
    for run in ["a", "b"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    fs::create_dir_all(logs.join("c/checkpoint")).unwrap();
    for directory in [logs.as_path(), root.path()] {
        let names: Vec<Value> = listed(directory).iter().map(|run| run["run"].clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
    let text = stdout(&burn_ckpt(&[&"ls", &logs]));
    let headings: Vec<&str> = text.lines().filter(|line| line.ends_with(':')).collect();
    assert_eq!(headings, ["a:", "b:"], "{text}");
    let (out, err) = ended_with(&burn_ckpt(&[&"ls", &logs.join("c")]), 1);
    assert!(out.is_empty() && err.contains("no checkpoint"), "{err}");
}

#[test]
fn what_is_not_whole_is_listed_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    let directory = checkpoints(root.path());
    let of = |epoch: usize| directory.join(format!("last/epoch={epoch}-step={}.ckpt", 10 * (epoch + 1)));
    let size = fs::metadata(of(0)).unwrap().len();
    fs::File::options().write(true).open(of(0)).unwrap().set_len(100).unwrap();
    fs::remove_file(format!("{}.metadata.json", of(1).display())).unwrap();
    fs::remove_file(of(2)).unwrap();
    let run = run_dir(root.path());
    let (table, err) = ended_with(&burn_ckpt(&[&"ls", &run]), 1);
    let expected = format!(
        "error: 1 of 3 checkpoints is damaged, 1 link leads to a missing file: burn-ckpt verify {}",
        run.display()
    );
    // Another line names the metadata of the checkpoint that is gone.
    assert_eq!(err.lines().filter(|line| line.starts_with(&expected)).count(), 1, "{err}");
    let line =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("last/epoch=0-step=10.ckpt").ends_with(&format!("damaged: 100 of {size} bytes")), "{table}");
    assert!(line("last/epoch=1-step=20.ckpt").ends_with("whole"), "{table}");
    assert!(line("last.ckpt").contains("points to a missing file: last/epoch=2-step=30.ckpt"), "{table}");
    assert!(line("best/epoch=2-step=30.ckpt").ends_with("whole"), "{table}");
    let (text, _) = ended_with(&burn_ckpt(&[&"ls", &run, &"--json"]), 1);
    let run = &serde_json::from_str::<Value>(&text).unwrap()[0];
    assert_eq!(run["dangling_links"][0]["link"], "last.ckpt");
    let whole =
        run["checkpoints"].as_array().unwrap().iter().filter(|checkpoint| checkpoint["whole"] == true);
    assert_eq!(whole.count(), 2);
}

#[test]
fn a_file_that_was_cut_off_is_damaged_also_without_the_metadata_beside_it() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let (cut, short) = (directory.join("last/epoch=0-step=10.ckpt"), directory.join("best/short.ckpt"));
    let apart = root.path().join("apart");
    fs::copy(&cut, &apart).and_then(|_| fs::rename(&apart, &cut)).unwrap();
    let file = fs::File::options().write(true).open(&cut).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    fs::remove_file(format!("{}.metadata.json", cut.display())).unwrap();
    let (table, err) = ended_with(&burn_ckpt(&[&"ls", &run_dir(root.path())]), 1);
    assert!(table.contains("damaged: ") && table.contains("cut off"), "{table}");
    assert!(err.contains("1 of 2 checkpoints is damaged") && err.contains("prune "), "{err}");
    fs::write(&short, "8 bytes.").unwrap();
    let (table, err) = ended_with(&burn_ckpt(&[&"ls", &directory.join("best")]), 1);
    assert!(table.contains("damaged: it is not a checkpoint: it has only 8 bytes"), "{table}");
    assert!(err.contains("1 of 2 checkpoints is damaged") && !err.contains("prune"), "{err}");
}

#[test]
fn links_that_are_hard_links_or_copies_are_links() {
    for copied in [false, true] {
        let root = tempfile::tempdir().unwrap();
        train(config(root.path(), 1)).unwrap();
        // What is made where there are no symbolic links.
        links_as_files(&run_dir(root.path()), copied);
        let checkpoints = of_run(&run_dir(root.path()));
        assert_eq!(names(&checkpoints), ["best/epoch=0-step=10.ckpt", "last/epoch=0-step=10.ckpt"]);
        assert_eq!(checkpoints[0]["links"], serde_json::json!(["best_val_loss"]));
        assert_eq!(checkpoints[1]["links"], serde_json::json!(["last"]));
    }
}

#[test]
fn a_name_with_a_terminals_commands_in_it_reaches_no_terminal() {
    let root = tempfile::tempdir().unwrap();
    train_scored(config(root.path(), 1).with_primary_metric("val_score"), &[1.0]).unwrap();
    let directory = checkpoints(root.path());
    let evil = directory.join("last/a\x1b[2Jb\nc.ckpt");
    system_tests::run_files::copy_checkpoint(&directory.join("last.ckpt"), &evil);
    let run = run_dir(root.path());
    for arguments in [["ls", run.to_str().unwrap()], ["verify", run.to_str().unwrap()]] {
        let output = burn_ckpt(&[&arguments[0], &arguments[1]]);
        let text = stdout(&output);
        assert!(!text.contains('\x1b') && text.contains("\\u{1b}[2Jb\\nc.ckpt"), "{text}");
    }
    assert!(names(&of_run(&run)).contains(&"last/a\x1b[2Jb\nc.ckpt"));
}

#[test]
fn metrics_are_chosen_by_name() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let heading = |metrics: &str| {
        let text = stdout(&burn_ckpt(&[&"ls", &run, &"--metrics", &metrics]));
        text.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(heading("train_loss")[3..5], ["train_loss", "size"]);
    assert_eq!(heading("all")[3..6], ["train_loss", "val_loss", "size"]);
    assert_eq!(heading("val_loss,train_loss")[3..6], ["val_loss", "train_loss", "size"]);
    assert_eq!(heading("val_loss,all")[3..6], ["train_loss", "val_loss", "size"]);
    for metrics in ["val_los", "val_loss,acuracy", "val_loss,"] {
        let (out, err) = ended_with(&burn_ckpt(&[&"ls", &run, &"--metrics", &metrics]), 1);
        let wrong = metrics.rsplit(',').next().unwrap();
        let expected = format!("no checkpoint has the metric {wrong}; the metrics are train_loss, val_loss");
        assert!(out.is_empty() && err.contains(&expected), "{err}");
    }
}

/// The program as a user who is not root, since root may read everything.
pub fn as_user(arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = burn_ckpt_command();
    // The user without rights. Another user of this machine cannot change to it, and need not.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    command.args(arguments.iter().map(|argument| argument.as_ref())).output().unwrap()
}

/// Runs a, b, c, d with a checkpoint each.
fn four_runs() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    for run in ["a", "b", "c", "d"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    (root, logs)
}

#[test]
fn a_run_that_cannot_be_read_is_named_and_the_others_are_listed() {
    let (_root, logs) = four_runs();
    let closed = ["a", "b/checkpoint", "c/checkpoint/best"].map(|name| logs.join(name));
    let permit = |mode| {
        for path in &closed {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    };
    permit(0);
    let named = |err: &str| {
        assert!(err.contains("a/checkpoint") && err.contains("b/checkpoint"), "{err}");
        assert!(err.contains("list") && err.contains("c/checkpoint/best:"), "{err}");
        assert!(err.contains("follow the link") && err.contains("c/checkpoint/best_val_loss.ckpt"), "{err}");
        assert!(err.contains("c/checkpoint/best") && err.matches("error: ").count() == 4, "{err}");
    };
    let (table, err) = ended_with(&as_user(&[&"ls", &logs]), 1);
    named(&err);
    assert!(!table.contains("a:") && !table.contains("b:"), "{table}");
    assert!(table.contains("c:") && table.contains("d:"), "{table}");
    assert_eq!(table.matches("last/epoch=0-step=10.ckpt").count(), 2, "{table}");

    let (text, err) = ended_with(&as_user(&[&"ls", &logs, &"--json"]), 1);
    named(&err);
    let runs: Value = serde_json::from_str(&text).unwrap();
    let unreadable = runs.as_array().unwrap().iter().map(|run| run["unreadable"].as_array().unwrap().len());
    assert_eq!(unreadable.collect::<Vec<_>>(), [1, 1, 2, 0], "{text}");

    let (text, err) = ended_with(&as_user(&[&"verify", &logs]), 1);
    named(&err);
    assert_eq!(text.matches("verified  ").count(), 3, "{text}");
    // What is not seen could be what has to stay.
    let (_, err) = ended_with(&as_user(&[&"prune", &logs.join("c"), &"--keep", &"last=1", &"--dry-run"]), 1);
    assert!(err.contains("c/checkpoint/best"), "{err}");
    for path in ["b/last", "b/best", "c/best", "b/best_val_loss"] {
        let (_, err) = ended_with(&as_user(&[&"show", &logs.join(path)]), 1);
        assert!(err.contains("cannot ") && err.contains("Permission denied"), "{path}: {err}");
    }
    let (out, err) = ended_with(&as_user(&[&"ls", &logs.join("b")]), 1);
    assert!(out.is_empty() && err.contains("b/checkpoint"), "{err}");
    permit(0o755);
    stdout(&burn_ckpt(&[&"ls", &logs]));
}

#[test]
fn a_directory_of_which_nothing_can_be_found_out_is_an_error_and_not_a_missing_one() {
    let root = tempfile::tempdir().unwrap();
    let (run, link) = (root.path().join("r1"), root.path().join("r1/checkpoint"));
    fs::create_dir(&run).unwrap();
    // A link to itself.
    std::os::unix::fs::symlink("checkpoint", &link).unwrap();
    let verbs: [&[&dyn AsRef<OsStr>]; 3] =
        [&[&"ls", &run], &[&"verify", &run], &[&"prune", &run, &"--keep", &"last=1"]];
    for arguments in verbs {
        let (_, err) = ended_with(&burn_ckpt(arguments), 1);
        let said = format!("cannot find out what is at {}", link.display());
        assert!(err.contains(&said) && err.contains("Too many levels"), "{err}");
    }
}

#[test]
fn a_pipe_in_a_files_place_is_not_waited_for() {
    let (_root, logs) = four_runs();
    let of = |run: &str| logs.join(run).join("checkpoint/last/epoch=0-step=10.ckpt");
    for pipe in [metadata_path(&of("a")), of("b")] {
        fs::remove_file(&pipe).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    let (table, err) = ended_with(&burn_ckpt(&[&"ls", &logs]), 1);
    assert!(table.contains("it is not a regular file"), "{table}");
    assert!(err.contains("of 8 checkpoints"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"show", &of("b")]), 1);
    assert!(err.contains("not a regular file"), "{err}");
    let shown = burn_ckpt(&[&"show", &of("a")]);
    stdout(&shown);
    assert!(stderr(&shown).contains("it is not a regular file"), "{}", stderr(&shown));
    let (text, _) = ended_with(&burn_ckpt(&[&"verify", &logs]), 1);
    assert_eq!(text.lines().filter(|line| !line.starts_with("verified")).count(), 1, "{text}");
}

#[test]
fn what_is_not_a_directory_is_named_as_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, directory) = (run_dir(root.path()), checkpoints(root.path()));
    for path in [
        run.join("best"),
        run.join("last"),
        directory.join("last.ckpt"),
        directory.join("last/epoch=0-step=10.ckpt"),
    ] {
        let (_, err) = ended_with(&burn_ckpt(&[&"ls", &path]), 1);
        let expected = format!(
            "{0} is a checkpoint, not a directory of checkpoints: burn-ckpt show {0}",
            path.display()
        );
        assert!(err.contains(&expected), "{err}");
    }
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run.join("metrics.jsonl")]), 1);
    assert!(err.contains("metrics.jsonl is a file: name a run's directory"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &run.join("nosuch")]), 1);
    assert!(err.contains("No such file or directory"), "{err}");
    if cfg!(not(feature = "mirror")) {
        let (_, err) = ended_with(&burn_ckpt(&[&"ls", &"s3://bucket/runs/r1"]), 2);
        assert!(err.contains("build burn-ckpt with the feature `mirror`"), "{err}");
    }
}
