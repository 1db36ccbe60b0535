//! `burn-ckpt rm`: a run is gone with all that is its own, and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::RunLock;
use burn_trainer::config::LockMode;
use burn_trainer::strategy::Last;
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::programs::on_terminal::OnTerminal;
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::{copy_tree, files, links_as_files, run_dir};
use system_tests::{config, train};

fn trained() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    (root, run)
}

fn removed(run: &Path) -> Value {
    serde_json::from_str(&stdout(&burn_ckpt(&[&"rm", &run, &"--yes", &"--json"]))).unwrap()
}

#[test]
fn a_run_is_gone_with_all_of_its_files() {
    let (root, run) = trained();
    train(config(root.path(), 1).with_run_id("other")).unwrap();
    stdout(&burn_ckpt(&[&"tag", &run, &"old"]));
    fs::write(run.join("checkpoint/last/.x.ckpt.0-1.staging"), "half").unwrap();
    let others = files(&run_dir(root.path()).with_file_name("other"));
    let would = stdout(&burn_ckpt(&[&"rm", &run, &"--dry-run"]));
    assert!(would.starts_with("would remove ") && run.join("checkpoint/last.ckpt").exists(), "{would}");
    assert!(!run.join("run.lock").exists());
    let checkpoint = fs::metadata(run.join("checkpoint/last.ckpt")).unwrap().len();
    let said = removed(&run);
    assert!(!run.exists(), "{:?}", files(&run));
    assert_eq!((&said["run"], &said["left"], &said["dry_run"]), (&json!("r1"), &json!([]), &json!(false)));
    assert!(said["size_bytes"].as_u64().unwrap() > checkpoint, "{said}: {checkpoint}");
    assert_eq!(files(&run.with_file_name("other")), others);
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 1);
    assert!(err.contains("is not there: name a run's directory"), "{err}");
}

#[test]
fn files_in_the_place_of_links_go_with_a_copy_of_another_name() {
    let (_root, run) = trained();
    let copy = run.with_file_name("copy");
    for copied in [false, true] {
        copy_tree(&run, &copy);
        links_as_files(&copy, copied);
        let mut seen = std::collections::HashSet::new();
        // The metadata beside a checkpoint is not counted.
        let counted = files(&copy).into_iter().filter(|name| !name.ends_with(".metadata.json"));
        let stats = counted.map(|name| fs::metadata(copy.join(name)).unwrap());
        let stats = stats.filter(|stat| stat.is_file() && seen.insert(stat.ino()));
        let bytes = stats.map(|stat| stat.len()).sum::<u64>();
        let dry = stdout(&burn_ckpt(&[&"rm", &copy, &"--dry-run", &"--json"]));
        let would: Value = serde_json::from_str(&dry).unwrap();
        assert_eq!((&would["left"], &would["size_bytes"]), (&json!([]), &json!(bytes)), "{would}");
        assert_eq!(removed(&copy)["size_bytes"], bytes);
        assert!(!copy.exists(), "{:?}", files(&copy));
    }
    // What an earlier version left of such a copy, and a checkpoint that a user has put there.
    copy_tree(&run, &copy);
    links_as_files(&copy, true);
    let mine = copy.join("checkpoint/best_mine.ckpt");
    stdout(&burn_ckpt(&[&"cp", &run.join("last"), &mine]));
    for name in ["checkpoint/best", "checkpoint/last", "train", "valid"] {
        fs::remove_dir_all(copy.join(name)).unwrap();
    }
    for name in ["metrics.jsonl", "experiment.log"] {
        let _ = fs::remove_file(copy.join(name));
    }
    removed(&copy);
    assert_eq!(files(&copy.join("checkpoint")), ["best_mine.ckpt", "best_mine.ckpt.metadata.json"]);
}

#[test]
fn what_is_not_the_runs_stays_and_is_named() {
    let (root, run) = trained();
    let kept = [
        "notes.txt",
        "metrics.jsonl",
        "checkpoint/last/weights.txt",
        "checkpoint/best/of-another-program.ckpt",
        "train/epoch-1/mine.txt",
        "train/mine/epoch-1/Loss.log",
        "own/epoch-1/Loss.log",
    ];
    for name in kept {
        fs::create_dir_all(run.join(name).parent().unwrap()).unwrap();
        fs::write(run.join(name), "mine").unwrap();
    }
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("Loss.log"), "mine").unwrap();
    fs::remove_dir_all(run.join("valid/epoch-2")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, run.join("valid/epoch-2")).unwrap();
    let dry = burn_ckpt(&[&"rm", &run, &"--dry-run", &"--json"]);
    let (would, would_note) = ended_with(&dry, 0);
    let output = burn_ckpt(&[&"rm", &run, &"--yes", &"--json"]);
    let (said, note) = ended_with(&output, 0);
    // A dry run names the same.
    let left_of = |said: &str| serde_json::from_str::<Value>(said).unwrap()["left"].clone();
    assert_eq!(left_of(&would), left_of(&said));
    assert_eq!((would_note, left_of(&said).as_array().unwrap().len()), (note.clone(), 6));
    for name in ["checkpoint", "metrics.jsonl", "notes.txt", "own", "train"] {
        assert!(note.contains(name), "{name}: {note}");
    }
    let mut expected: Vec<String> = kept.iter().map(|name| (*name).to_owned()).collect();
    expected.extend(files(&run).into_iter().filter(|name| name.starts_with("valid/epoch-2")));
    expected.sort();
    let mut left = files(&run);
    left.sort();
    assert_eq!(left, expected);
    assert!(elsewhere.join("Loss.log").exists());
}

#[test]
fn checkpoints_outside_of_the_run_go_too_and_those_of_others_there_stay() {
    let root = tempfile::tempdir().unwrap();
    let shared = root.path().join("shared");
    for run in ["r1", "r2"] {
        let last = Last::new().with_dirpath(&shared).with_filename(format!("{run}-{{epoch}}"));
        train(config(root.path(), 1).with_run_id(run).with_last(last)).unwrap();
    }
    removed(&run_dir(root.path()));
    assert_eq!(files(&shared), ["r2-0.ckpt", "r2-0.ckpt.metadata.json"]);
    assert!(run_dir(root.path()).with_file_name("r2").join("checkpoint/last.ckpt").exists());
}

#[test]
fn a_run_that_is_written_to_and_what_is_not_a_run_are_errors_that_remove_nothing() {
    let (root, run) = trained();
    let before = files(&run);
    let lock = RunLock::acquire(&run, LockMode::Required).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 1);
    assert!(err.contains(&format!("process {}", std::process::id())), "{err}");
    drop(lock);
    // A directory of another program's checkpoints.
    let other = root.path().join("lightning");
    fs::create_dir_all(other.join("checkpoint/last")).unwrap();
    fs::write(other.join("checkpoint/last/epoch=1.ckpt"), "not ours").unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&run, &link).unwrap();
    for (path, reason) in [
        (root.path(), "is not a run's directory"),
        (&other, "nothing in it says so"),
        (&run.join("train"), "is not a run's directory"),
        (&link, "is a link to "),
        (&run.join("checkpoint/last/epoch=1-step=20.ckpt"), "is a checkpoint, not a run"),
    ] {
        let (out, err) = ended_with(&burn_ckpt(&[&"rm", &path, &"--yes"]), 1);
        assert!(out.is_empty() && err.contains(reason), "{}: {err}", path.display());
    }
    assert_eq!(fs::read(other.join("checkpoint/last/epoch=1.ckpt")).unwrap(), b"not ours");
    // There is no terminal to ask on.
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run]), 2);
    assert!(err.contains("add --yes"), "{err}");
    assert_eq!(files(&run), before);
}

#[test]
fn on_a_terminal_the_program_asks() {
    let (root, run) = trained();
    let copy = root.path().join("burn_trainer_logs/copy");
    copy_tree(&run, &copy);
    for (answer, is_removed) in [("\r", false), ("n\r", false), ("y\r", true)] {
        let mut command = burn_ckpt_command();
        command.arg("rm").arg(&copy);
        let mut terminal = OnTerminal::start(&command);
        terminal.wait_for("the question", |shown| shown.contains("[y/N]"));
        terminal.press(answer);
        let ended = terminal.end();
        assert!(
            ended.stdout.contains("2 checkpoints") && ended.stdout.contains("of the run copy"),
            "{ended:?}"
        );
        assert_eq!(ended.stdout.contains("nothing is removed"), !is_removed, "{ended:?}");
        assert_eq!(copy.exists(), !is_removed, "{ended:?}");
    }
    assert!(run.exists());
}

#[test]
fn a_kill_at_the_question_changes_nothing_and_neither_does_an_answer_to_an_old_question() {
    let (_root, run) = trained();
    let before = files(&run);
    let asked = || {
        let mut command = burn_ckpt_command();
        command.arg("rm").arg(&run);
        let mut terminal = OnTerminal::start(&command);
        terminal.wait_for("the question", |shown| shown.contains("[y/N]"));
        terminal
    };
    for signal in ["INT", "HUP", "TERM", "KILL"] {
        let terminal = asked();
        terminal_is_ended(terminal, signal);
        assert_eq!(files(&run), before, "{signal}");
        let runs = stdout(&burn_ckpt(&[&"runs", &run, &"--columns", &"status"]));
        assert!(runs.contains("done") && !runs.contains("killed"), "{signal}: {runs}");
    }
    // A process begins to write meanwhile, or has written.
    let mut terminal = asked();
    let lock = RunLock::acquire(&run, LockMode::Required).unwrap();
    terminal.press("y\r");
    let ended = terminal.end();
    assert!(ended.stdout.contains("is in use by"), "{ended:?}");
    drop(lock);
    let mut terminal = asked();
    fs::write(run.join("checkpoint/last/.x.ckpt.0-1.staging"), "half").unwrap();
    terminal.press("y\r");
    let ended = terminal.end();
    assert!(ended.stdout.contains("has changed since the question was asked"), "{ended:?}");
    assert_eq!(files(&run).len(), before.len() + 1);
}

fn terminal_is_ended(mut terminal: OnTerminal, signal: &str) {
    terminal.send(signal);
    let _ = terminal.end();
}

/// A command that is not root's, who may write everything.
fn not_as_root(mut command: std::process::Command) -> std::process::Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    command
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_removal_that_fails_half_way_can_be_repeated() {
    let (root, run) = trained();
    set_mode(root.path(), 0o777);
    for closed in ["train/epoch-1", "valid/epoch-2", "checkpoint/last", "checkpoint"] {
        let copy = root.path().join("burn_trainer_logs/copy");
        copy_tree(&run, &copy);
        for directory in ["", "checkpoint", "checkpoint/best", "checkpoint/last", "train", "valid"]
            .into_iter()
            .chain(["train/epoch-1", "train/epoch-2", "valid/epoch-1", "valid/epoch-2"])
        {
            set_mode(&copy.join(directory), 0o777);
        }
        set_mode(&root.path().join("burn_trainer_logs"), 0o777);
        set_mode(&copy.join(closed), 0o555);
        let mut command = not_as_root(burn_ckpt_command());
        let output = command.arg("rm").arg("--yes").arg(&copy).output().unwrap();
        let (_, err) = ended_with(&output, 1);
        assert!(err.contains("Permission denied"), "{closed}: {err}");
        set_mode(&copy.join(closed), 0o777);
        let runs = stdout(&burn_ckpt(&[&"runs", &copy, &"--columns", &"run,status"]));
        assert!(runs.contains("copy") && !runs.contains("not a run"), "{closed}: {runs}");
        let mut command = not_as_root(burn_ckpt_command());
        ended_with(&command.arg("rm").arg("--yes").arg(&copy).output().unwrap(), 0);
        assert!(!copy.exists(), "{closed}: {:?}", files(&copy));
    }
}

#[test]
fn the_empty_directory_that_a_killed_removal_leaves_can_be_removed() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("burn_trainer_logs/a");
    fs::create_dir_all(&run).unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&run, &link).unwrap();
    // It asks as for each run. A link to it is an error.
    for (arguments, status) in [(&["--dry-run"][..], 0), (&[][..], 2)] {
        let output = burn_ckpt_command().arg("rm").args(arguments).arg(&run).output().unwrap();
        ended_with(&output, status);
    }
    ended_with(&burn_ckpt(&[&"rm", &link, &"--yes"]), 1);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    let said = removed(&run);
    assert_eq!((&said["run"], &said["checkpoints"], &said["left"]), (&json!("a"), &json!([]), &json!([])));
    assert!(!run.exists() && root.path().join("burn_trainer_logs").exists());
    // One in which a user has put a file is not a run.
    fs::create_dir(&run).unwrap();
    fs::write(run.join("notes.txt"), "mine").unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run, &"--yes"]), 1);
    assert!(err.contains("is not a run's directory"), "{err}");
}

#[test]
fn a_run_that_was_killed_before_its_first_save_can_be_removed() {
    let (root, gate) = (tempfile::tempdir().unwrap(), Gate::closed());
    let hooks = TestHooks::wait(Split::Train, 2, &gate);
    let mut running = Running::start(hooks.given_to(warmup(root.path(), "--run-id a --epochs 2")));
    running.wait_for("its batch", |_| gate.is_reached());
    running.kill();
    let run = root.path().join("burn_trainer_logs/a");
    assert!(files(&run).iter().all(|name| !name.ends_with(".ckpt")), "{:?}", files(&run));
    for _ in 0..2 {
        let runs = stdout(&burn_ckpt(&[&"runs", &run, &"--json"]));
        assert!(runs.contains("killed before its first save"), "{runs}");
        // There is no terminal to ask on. The lock file stays, by which the run is one.
        let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run]), 2);
        assert!(err.contains("add --yes"), "{err}");
    }
    removed(&run);
    assert!(!run.exists(), "{:?}", files(&run));
    // Nothing but directories, as of one that was killed earlier.
    fs::create_dir_all(run.join("checkpoint/last")).unwrap();
    removed(&run);
    assert!(!run.exists(), "{:?}", files(&run));
}

#[test]
fn the_directory_of_its_checkpoints_is_not_the_run() {
    let (_root, run) = trained();
    let before = files(&run);
    for more in ["--yes", "--dry-run"] {
        let (_, err) = ended_with(&burn_ckpt(&[&"rm", &run.join("checkpoint"), &more]), 1);
        assert!(err.contains("is in the run ") && err.contains("name that directory"), "{err}");
    }
    assert_eq!(files(&run), before);
}
