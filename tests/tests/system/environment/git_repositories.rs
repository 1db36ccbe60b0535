//! In whatever repository a run is started, what it says of it is right or `null`, and the run does not wait
//! for it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::git_repository::{Repository, expected, stub, without_settings};
use system_tests::programs::running::{Running, path_with, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{checkpoints, metadata};

/// A busy machine may answer late, for which there is `null`: so often it is asked again.
const ATTEMPTS: usize = 5;

/// What a run in a directory says of its repository.
fn described(directory: &Path, set_up: impl FnOnce(Command) -> Command) -> Value {
    let root = tempfile::tempdir().unwrap();
    let mut command = warmup(root.path(), "--run-id r1 --epochs 1");
    command.current_dir(directory);
    Running::start(set_up(without_settings(command))).end_well();
    metadata(&checkpoints(root.path()).join("last.ckpt"))["environment"]["git"].take()
}

/// Whether each value is as expected or unknown.
fn right_or_null(said: &Value, expected: &Value) -> bool {
    let Some(said) = said.as_object() else { return said.is_null() };
    said.len() == 4 && said.iter().all(|(key, value)| value.is_null() || *value == expected[key])
}

fn assert_described(directory: &Path, expected: &Value, set_up: impl Fn(Command) -> Command) {
    for _ in 0..ATTEMPTS {
        let said = described(directory, &set_up);
        assert!(right_or_null(&said, expected), "{said} is not {expected}");
        if said == *expected {
            return;
        }
    }
    panic!("{expected} is not found out");
}

fn as_it_is(command: Command) -> Command {
    command
}

#[test]
fn before_the_first_commit_there_is_a_branch_alone() {
    let repository = Repository::empty();
    repository.write("file", "");
    let expected = json!({ "branch": "trunk", "commit": null, "dirty": false, "diff_sha256": null });
    assert_described(repository.path(), &expected, as_it_is);
    repository.git(&["add", "file"]);
    let expected = json!({ "branch": "trunk", "commit": null, "dirty": true, "diff_sha256": null });
    assert_described(repository.path(), &expected, as_it_is);
}

#[test]
fn a_detached_head_has_no_branch() {
    let repository = Repository::with_a_commit();
    repository.git(&["checkout", "--quiet", "--detach"]);
    repository.write("tracked", "changed\n");
    let expected = expected(repository.path());
    assert_eq!((&expected["branch"], &expected["dirty"]), (&Value::Null, &json!(true)));
    assert_described(repository.path(), &expected, as_it_is);
}

#[test]
fn a_worktree_and_a_submodule_are_repositories_of_their_own() {
    let (repository, other) = (Repository::with_a_commit(), Repository::with_a_commit());
    other.git(&["commit", "--quiet", "--allow-empty", "--message=second"]);
    repository.git(&["worktree", "add", "--quiet", "-b", "topic", "tree"]);
    repository.git(&["submodule", "--quiet", "add", &other.path().display().to_string(), "sub"]);
    repository.write("sub/tracked", "changed\n");
    let [worktree, submodule] = ["tree", "sub"].map(|name| repository.path().join(name));
    assert_eq!(expected(&worktree)["branch"], "topic");
    assert_described(&worktree, &expected(&worktree), as_it_is);
    assert_eq!(expected(&submodule)["dirty"], true);
    assert_ne!(expected(&submodule)["commit"], expected(&worktree)["commit"]);
    assert_described(&submodule, &expected(&submodule), as_it_is);
}

#[test]
fn a_bare_repository_has_no_files_that_could_differ() {
    let repository = Repository::with_a_commit();
    repository.git(&["clone", "--quiet", "--bare", ".", "bare.git"]);
    let commit = repository.git(&["log", "-1", "--format=%H"]);
    let expected = json!({ "branch": "trunk", "commit": commit, "dirty": null, "diff_sha256": null });
    assert_described(&repository.path().join("bare.git"), &expected, as_it_is);
}

#[test]
fn where_there_is_no_repository_or_none_that_git_reads_there_is_null() {
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(described(elsewhere.path(), as_it_is), Value::Null);
    std::fs::write(elsewhere.path().join(".git"), "gitdir: nowhere\n").unwrap();
    assert_eq!(described(elsewhere.path(), as_it_is), Value::Null);

    let repository = Repository::with_a_commit();
    let of_another_user = |mut command: Command| {
        // What git's own tests do.
        command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        command
    };
    assert_eq!(described(repository.path(), of_another_user), Value::Null);
    let without_git = |mut command: Command| {
        command.env("PATH", elsewhere.path());
        command
    };
    assert_eq!(described(repository.path(), without_git), Value::Null);
    // Otherwise it is read.
    assert_described(repository.path(), &expected(repository.path()), as_it_is);
}

/// Lets git answer only after the first batch: a run that waited for git would wait for itself, until git is
/// cut off and nothing of the repository is known.
fn assert_described_while_it_trains(directory: &Path) {
    const AFTER_THE_FIRST_BATCH: &str =
        r#"until [ -e "$GATE/reached" ]; do sleep 0.01; done; PATH="${PATH#*:}" exec git "$@""#;
    let git = stub(AFTER_THE_FIRST_BATCH);
    assert_described(directory, &expected(directory), |mut command| {
        // Kept for as long as the program may look at it.
        let gate = Box::leak(Box::new(Gate::closed()));
        gate.open();
        command.env("PATH", path_with(git.path())).env("GATE", gate.path());
        TestHooks::wait(Split::Train, 1, gate).given_to(command)
    });
}

#[test]
fn a_run_trains_before_git_answers() {
    let repository = Repository::with_a_commit();
    repository.write("tracked", "changed\n");
    assert_described_while_it_trains(repository.path());
}

#[test]
fn a_git_that_hangs_is_cut_off_with_all_that_it_started() {
    let repository = Repository::with_a_commit();
    let git = stub(r#"sleep 600 & echo $$ $! > "$0.running.part"; mv "$0.running.part" "$0.running"; wait"#);
    let with_it = |mut command: Command| {
        command.env("PATH", path_with(git.path()));
        command
    };
    assert_eq!(described(repository.path(), with_it), Value::Null);
    // On a very busy machine it did not get that far.
    let running = std::fs::read_to_string(git.path().join("git.running")).unwrap_or_default();
    let begun = Instant::now();
    for process in running.split_whitespace() {
        while runs(process) {
            assert!(begun.elapsed() < Duration::from_mins(1), "{process} lives on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether there is such a process, and not only an entry that its parent has not looked at.
fn runs(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn a_repository_of_a_hundred_thousand_files_is_described_while_it_trains() {
    const DIRECTORIES: usize = 100;
    const FILES: usize = 1000;
    let repository = Repository::empty_for_many_files();
    let mut stream = String::from(
        "blob\nmark :1\ndata 0\n\ncommit refs/heads/trunk\ncommitter T <t@t.invalid> 0 +0000\ndata 1\nx\n",
    );
    for directory in 0..DIRECTORIES {
        for file in 0..FILES {
            stream.push_str(&format!("M 644 :1 {directory}/{file}\n"));
        }
    }
    let file = repository.write(".git/stream", &stream);
    repository.git_with_input(&["fast-import", "--quiet"], &file);
    repository.git(&["reset", "--quiet", "--hard"]);
    assert_described_while_it_trains(repository.path());
    repository.write("7/7", "changed\n");
    assert_described_while_it_trains(repository.path());
    assert_eq!(expected(repository.path())["dirty"], true);
}
