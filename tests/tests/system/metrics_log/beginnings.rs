//! Where the log of a resumed run begins: after the lines that the checkpoint counts, or with the
//! checkpoint's history where the directory does not have them. What is not the run's stays.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_trainer::TrainerConfig;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::models::small::{OnStep, Script, train_scripted};
use system_tests::programs::commands::{stderr, stdout, train_example};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, copy_checkpoint, run_dir};
use system_tests::{config, train};

use super::{in_short, log, of_batches, without_times};

const LOG: &str = "metrics.jsonl";

/// Saves every three steps, and keeps all.
fn all_kept(root: &Path, epochs: usize) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(3).with_topk(TopK::All);
    config(root, epochs).with_strategies([StrategyConfig::Last(last)])
}

fn whole() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    train(all_kept(root.path(), 3)).unwrap();
    root
}

#[test]
fn a_resume_from_an_older_checkpoint_cuts_the_log_there() {
    let (whole, again) = (whole(), whole());
    // After the first one, the newer ones count lines that are not there any more.
    for name in ["epoch=2-step=30", "epoch=1-step=15", "epoch=0-step=3"] {
        let path = checkpoints(again.path()).join(format!("last/{name}.ckpt"));
        train(all_kept(again.path(), 3).with_ckpt_path(path.to_str().unwrap())).unwrap();
        assert_eq!(without_times(log(again.path())), without_times(log(whole.path())), "{name}");
    }
}

#[test]
fn lines_after_the_checkpoint_come_once_after_a_failure() {
    let (whole, parts) = (whole(), tempfile::tempdir().unwrap());
    train_scripted(all_kept(parts.path(), 3), Script { panic_in_step: Some(17), ..Script::default() })
        .unwrap_err();
    assert_eq!(log(parts.path()).iter().filter(of_batches).count(), 16, "written although the run failed");
    train(all_kept(parts.path(), 3).with_ckpt_path("auto")).unwrap();
    assert_eq!(without_times(log(parts.path())), without_times(log(whole.path())));
}

#[test]
fn a_log_that_is_removed_while_the_run_trains_begins_again_and_is_completed_by_a_resume() {
    let root = tempfile::tempdir().unwrap();
    let file = run_dir(root.path()).join(LOG);
    let remove = OnStep(Arc::new(move || fs::remove_file(&file).unwrap()));
    let removing = Script { at_step: Some((15, remove)), ..Script::default() };
    train_scripted(all_kept(root.path(), 2), removing).unwrap();
    let in_shorts = || log(root.path()).iter().map(in_short).collect::<Vec<_>>();
    let later = in_shorts();
    assert_eq!(later.last().unwrap(), "e1.20");
    assert!(!later.iter().any(|line| line == "e0.10"), "{later:?}");
    // From the history of the checkpoint.
    train(all_kept(root.path(), 3).with_ckpt_path("auto")).unwrap();
    let all = in_shorts();
    for line in ["e0.10", "e1.20", "b2.21", "e2.30"] {
        assert_eq!(all.iter().filter(|found| *found == line).count(), 1, "{line}: {all:?}");
    }
}

#[test]
fn a_checkpoint_that_stands_alone_gives_the_lines_of_its_history() {
    let (whole, alone) = (whole(), tempfile::tempdir().unwrap());
    let checkpoint = alone.path().join("copied.ckpt");
    copy_checkpoint(&checkpoints(whole.path()).join("last/epoch=1-step=15.ckpt"), &checkpoint);
    let resumed = |root: &Path| all_kept(root, 3).with_ckpt_path(checkpoint.to_str().unwrap());
    train(resumed(alone.path())).unwrap();
    let lines = log(alone.path());
    let expected = log(whole.path()).into_iter();
    // The batches of the first epoch are in no history.
    let expected: Vec<_> = expected.filter(|line| line.epoch > 0 || line.batch.is_none()).collect();
    assert_eq!(without_times(lines.clone()), without_times(expected));
    assert_eq!(lines.iter().filter(|line| line.time.is_none()).count(), 2 + 5);
    assert!(lines[..7].iter().all(|line| line.time.is_none()));
}

#[test]
fn a_log_that_is_not_the_checkpoints_is_written_again() {
    let expected = whole();
    let whole_lines = log(expected.path());
    for damage in [0, 1, 2] {
        let root = whole();
        let path = run_dir(root.path()).join(LOG);
        let text = fs::read_to_string(&path).unwrap();
        match damage {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, &text[..text.len() / 2]).unwrap(),
            _ => fs::copy(run_dir(expected.path()).join(LOG), &path).map(drop).unwrap(),
        }
        train(all_kept(root.path(), 4).with_ckpt_path("auto")).unwrap();
        let lines = log(root.path());
        let known = lines.iter().filter(|line| line.epoch < 3).cloned().collect();
        let epochs = whole_lines.iter().filter(|line| line.batch.is_none()).cloned().collect();
        assert_eq!(without_times(known), without_times(epochs), "{damage}");
        assert_eq!(lines.len(), 6 + 12, "{damage}");
    }
}

#[test]
fn a_missing_log_is_said_in_one_line() {
    let root = tempfile::tempdir().unwrap();
    let train = |epochs: &str| {
        let output =
            train_example(root.path(), &["--run-id", "r1", "--epochs", epochs, "--ckpt-path", "auto"]);
        stdout(&output);
        stderr(&output)
    };
    assert!(!train("1").contains(LOG));
    assert!(!train("2").contains(LOG));
    fs::remove_file(run_dir(root.path()).join(LOG)).unwrap();
    let said = train("3");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(LOG)).collect();
    let [line] = lines[..] else { panic!("{said}") };
    assert!(line.contains("is missing: it is written again from the checkpoint's history"), "{line}");
    assert!(!train("4").contains(LOG), "said once");
}

#[test]
fn a_warning_and_an_error_of_a_path_with_a_line_break_are_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a\nfake");
    let path = run_dir(&root).join(LOG);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine\n").unwrap();
    let ended = Running::start(warmup(&root, "--run-id r1 --epochs 1")).end_well();
    let said = |line: &&str| line.contains("metrics.jsonl cannot be written") && line.contains("a\\nfake");
    assert_eq!(ended.stderr.lines().filter(said).count(), 1, "{ended:?}");
    let mut command = warmup(&root, "--run-id r2 --epochs 1");
    command.arg("--ckpt-path").arg(root.join("gone.ckpt"));
    let failed = Running::start(command).end();
    assert_ne!(failed.code(), Some(0));
    let error = failed.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains("a\\nfake") && error.contains("gone.ckpt"), "{failed:?}");
    for ended in [ended, failed] {
        assert!(!ended.stderr.lines().any(|line| line.starts_with("fake")), "{ended:?}");
    }
}

#[test]
fn what_is_not_the_runs_stays_and_training_continues() {
    let root = tempfile::tempdir().unwrap();
    let train = |more: &[&str]| {
        let arguments = [&["--run-id", "r1", "--epochs", "1"][..], more].concat();
        let output = train_example(root.path(), &arguments);
        stdout(&output);
        stderr(&output)
    };
    let path = run_dir(root.path()).join(LOG);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "mine\n").unwrap();
    let said = train(&[]);
    assert_eq!(
        said.lines().filter(|line| line.contains("metrics.jsonl cannot be written")).count(),
        1,
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
    train(&["--overwrite"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
    let precious = root.path().join("precious");
    fs::rename(&path, &precious).unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    let said = train(&["--overwrite"]);
    assert_eq!(
        said.lines().filter(|line| line.contains("metrics.jsonl cannot be written")).count(),
        1,
        "{said}"
    );
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine\n");
    assert!(path.is_symlink());
}

#[test]
fn overwrite_removes_the_log_and_what_a_killed_start_left_of_one_is_replaced() {
    let whole = whole();
    let before = without_times(log(whole.path()));
    train(all_kept(whole.path(), 1).with_overwrite(true)).unwrap();
    assert_eq!(without_times(log(whole.path())), before[..12]);
    let killed = tempfile::tempdir().unwrap();
    fs::create_dir_all(run_dir(killed.path())).unwrap();
    fs::write(run_dir(killed.path()).join(LOG), "{\"format\":\"burn-ck").unwrap();
    train(all_kept(killed.path(), 1)).unwrap();
    assert_eq!(without_times(log(killed.path())), before[..12]);
}
