//! `burn-ckpt tag`: tags and notes of a run after it was trained, which every listing knows and no checkpoint
//! is written for.

use std::collections::BTreeMap;
use std::path::Path;

use burn_ckpt::plumbing::RunLock;
use burn_trainer::config::LockMode;
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, sha256sum, stderr, stdout};
use system_tests::programs::running::digits;
use system_tests::run_files::{files, run_dir};
use system_tests::{config, train};

fn tagged(run: &Path, arguments: &[&str]) -> Value {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"tag", &run, &"--json"];
    all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
    serde_json::from_str(&stdout(&burn_ckpt(&all))).unwrap()
}

fn digests(run: &Path) -> BTreeMap<String, String> {
    let names = files(run).into_iter().filter(|name| !name.contains(" -> "));
    names.map(|name| (name.clone(), sha256sum(&run.join(&name)).unwrap())).collect()
}

#[test]
fn a_tag_is_shown_everywhere_and_writes_no_checkpoint_again() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_tags(["baseline", "owner=ann"]).with_notes("first")).unwrap();
    let run = run_dir(root.path());
    let before = digests(&run);
    assert_eq!(
        tagged(&run, &[]),
        json!({ "run": "r1", "tags": ["baseline", "owner=ann"], "notes": "first" })
    );
    assert_eq!(digests(&run), before, "asking writes nothing");

    let said = tagged(&run, &["good", "owner=bob", "--remove", "baseline", "--notes", "the one to keep"]);
    assert_eq!(said, json!({ "run": "r1", "tags": ["good", "owner=bob"], "notes": "the one to keep" }));
    let mut after = digests(&run);
    assert!(after.remove("tags.json").is_some());
    assert_eq!(after, before);

    let runs: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &root.path(), &"--json"]))).unwrap();
    assert_eq!((&runs[0]["tags"], &runs[0]["notes"]), (&said["tags"], &said["notes"]));
    // What the run was started with stays what it was.
    assert_eq!(runs[0]["trainer_config"]["tags"], json!(["baseline", "owner=ann"]));
    let table = stdout(&burn_ckpt(&[&"runs", &root.path()]));
    assert!(table.contains("good, owner=bob"), "{table}");
    let shown = stdout(&burn_ckpt(&[&"show", &run.join("last")]));
    assert!(shown.contains("good, owner=bob\n") && shown.contains("the one to keep\n"), "{shown}");
    assert!(stdout(&burn_ckpt(&[&"ls", &root.path(), &"--tag", &"good"])).contains("last"));
    let (_, err) = ended_with(&burn_ckpt(&[&"ls", &root.path(), &"--tag", &"baseline"]), 1);
    assert!(err.contains("no checkpoint has the tag baseline; the tags are good, owner=bob"), "{err}");

    // A line of notes is a line.
    let lines = stdout(&burn_ckpt(&[&"tag", &run, &"--notes", &"a\nb"]));
    assert_eq!(lines, "tags   good, owner=bob\nnotes  a\\nb\n");

    // Back to what it was started with: nothing is left of the changes.
    let said = tagged(&run, &["owner=ann", "baseline", "--remove", "good", "--notes", "first"]);
    assert_eq!(said["notes"], "first");
    assert_eq!(digests(&run), before);
}

#[test]
fn runs_are_found_by_their_tags_those_that_were_given_later_too() {
    let root = tempfile::tempdir().unwrap();
    let runs: [(&str, &[&str]); 3] = [("a", &["small", "good"]), ("b", &["small"]), ("c", &[])];
    for (run, tags) in runs {
        train(config(root.path(), 1).with_run_id(run).with_tags(tags.iter().copied())).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    tagged(&logs.join("c"), &["good"]);
    let found = |tags: &[&str]| {
        let mut command = burn_ckpt_command();
        command.arg("runs").arg(&logs).arg("--json");
        tags.iter().for_each(|tag| _ = command.args(["--tag", *tag]));
        let runs: Value = serde_json::from_str(&stdout(&command.output().unwrap())).unwrap();
        let names = runs.as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(found(&["small"]), ["a", "b"]);
    assert_eq!(found(&["good"]), ["a", "c"]);
    assert_eq!(found(&["small", "good"]), ["a"]);
    let (table, err) = ended_with(&burn_ckpt(&[&"runs", &logs, &"--tag", &"bad"]), 1);
    assert_eq!(table, "");
    assert!(err.contains("no run has the tag bad; the tags are good, small"), "{err}");
    // A run whose tags cannot be read may have it.
    std::fs::write(logs.join("b/tags.json"), "{").unwrap();
    let (table, err) = ended_with(&burn_ckpt(&[&"runs", &logs, &"--tag", &"good"]), 1);
    let shown: Vec<_> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(shown, ["a", "b", "c"], "{table}");
    assert!(err.contains("tags.json"), "{err}");
}

#[test]
fn what_cannot_be_is_an_error_that_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let (_, err) = ended_with(&burn_ckpt(&[&"tag", &run, &"new", &"--remove", &"old"]), 1);
    assert!(err.contains("does not have the tag \"old\"; its tags are none"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"tag", &run, &" "]), 1);
    assert!(err.contains("the tag") && err.contains("it is empty"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"tag", &run, &"=ann"]), 1);
    assert!(err.contains("the tag \"=ann\" is invalid: it has no key"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"tag", &root.path(), &"new"]), 1);
    assert!(err.contains("is not a run's directory"), "{err}");
    assert!(!run.join("tags.json").exists() && !root.path().join("tags.json").exists());
    // A damaged file is named, and the rest is shown.
    std::fs::write(run.join("tags.json"), "{").unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"tag", &run]), 1);
    assert!(err.contains("tags.json") && err.contains("correct it, or remove it"), "{err}");
    let (table, err) = ended_with(&burn_ckpt(&[&"runs", &root.path()]), 1);
    assert!(table.contains("done") && err.contains("tags.json"), "{table}{err}");
    let shown = burn_ckpt(&[&"show", &run.join("last")]);
    assert!(stdout(&shown).contains("hyperparameters"));
}

#[test]
fn a_start_and_burn_ckpt_tag_have_one_rule_for_tags_and_notes() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let (long, notes) = ("t".repeat(257), "n".repeat(64 * 1024 + 1));
    let told = |flags: &[&str]| {
        let mut command = digits(root.path(), "--run-id r2 --epochs 1");
        ended_with(&command.args(flags).output().unwrap(), 2).1
    };
    for (tag, reason) in [
        ("=v", "it has no key: write any text, or KEY=VALUE"),
        (" ", "it is empty"),
        ("a\tb", "it has a control character"),
        (&long, "it has 257 bytes, and 256 are allowed"),
    ] {
        let (_, later) = ended_with(&burn_ckpt(&[&"tag", &run, &tag]), 1);
        let at_start = told(&["--set", &format!("tags={}", json!([tag]))]);
        assert!(later.contains(reason) && !later.contains("tags"), "{later}");
        assert!(at_start.contains("tags") && at_start.contains(reason), "{at_start}");
    }
    let (_, later) = ended_with(&burn_ckpt(&[&"tag", &run, &"--notes", &notes]), 1);
    let at_start = told(&["--set", &format!("notes={notes}")]);
    for said in [later, at_start] {
        assert!(said.contains("they have 65537 bytes, and 65536 are allowed"), "{said:.300}");
    }
    let at_start = told(&["--set", &format!("name={}", json!("a\nb"))]);
    assert!(at_start.contains("name") && at_start.contains("it has a control character"), "{at_start}");
    assert!(!run_dir(root.path()).with_file_name("r2").exists());
}

#[test]
fn a_new_run_of_the_same_id_does_not_have_the_tags_of_the_one_it_overwrites() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    tagged(&run, &["old"]);
    // A run that resumes keeps them.
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!(tagged(&run, &[])["tags"], json!(["old"]));
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    assert_eq!(tagged(&run, &[])["tags"], json!([]));
}

#[test]
fn a_users_file_of_that_name_is_neither_replaced_nor_removed() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let path = run.join("tags.json");
    for text in [r#"{"my": "tags"}"#, "{}", r#"{"added": [], "removed": [], "notes": null, "mine": 1}"#] {
        std::fs::write(&path, text).unwrap();
        let (_, err) = ended_with(&burn_ckpt(&[&"tag", &run, &"hello"]), 1);
        assert!(err.contains("tags.json") && err.contains("it does not have tags and notes"), "{err}");
        train(config(root.path(), 1).with_overwrite(true)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // A run that begins beside such a file says so.
    let output = digits(root.path(), "--run-id r1 --epochs 1 --overwrite").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(
        output.status.success() && said.contains("overwrite leaves ") && said.contains("tags.json"),
        "{said}"
    );
}

#[test]
fn of_tags_that_are_given_at_the_same_time_none_is_lost_also_while_the_run_trains() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let lock = RunLock::acquire(&run, LockMode::Required).unwrap();
    let expected: Vec<String> = (10..26).map(|number| format!("t{number}")).collect();
    let tag = |tag| burn_ckpt_command().arg("tag").arg(&run).arg(tag).spawn().unwrap();
    let mut started: Vec<_> = expected.iter().map(tag).collect();
    for process in &mut started {
        assert!(process.wait().unwrap().success());
    }
    let mut tags: Vec<String> = serde_json::from_value(tagged(&run, &[])["tags"].clone()).unwrap();
    tags.sort();
    assert_eq!(tags, expected);
    assert!(!run.join(".tags.json.lock").exists());
    drop(lock);
}
