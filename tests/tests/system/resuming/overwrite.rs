//! Overwriting deletes what a run left and nothing else, and never the checkpoint that the run resumes from.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use burn_trainer::{Error, TrainerConfig};
use system_tests::run_files::{checkpoints, copy_checkpoint, files, stems};
use system_tests::{config, train};

fn overwriting(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_overwrite(true)
}

fn refused(config: TrainerConfig) {
    let directory = checkpoints(&config.root);
    let before = files(&directory);
    let error = train(config).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "overwrite"), "{error}");
    assert!(error.to_string().contains("leave out overwrite to resume, or ckpt_path"), "{error}");
    assert_eq!(files(&directory), before);
}

/// A disk on which the questions where a path leads fail from one on.
struct FailsFrom {
    at: usize,
    asked: AtomicUsize,
}

impl Observer for FailsFrom {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_asked = matches!(operation, Operation::Resolve(_));
        match is_asked && self.asked.fetch_add(1, Ordering::SeqCst) >= self.at {
            true => Verdict::Fail(std::io::Error::from_raw_os_error(116)), // ESTALE
            false => Verdict::Proceed,
        }
    }
}

#[test]
fn a_disk_that_fails_does_not_make_it_overwrite_what_it_was_to_resume() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let before = files(&checkpoints(root.path()));
    for at in 0.. {
        let observer = Arc::new(FailsFrom { at, asked: AtomicUsize::new(0) });
        let observation = observe(root.path(), observer.clone());
        let error = train(overwriting(root.path(), 2).with_ckpt_path("last")).map(|_| ()).unwrap_err();
        drop(observation);
        assert_eq!(files(&checkpoints(root.path())), before, "question {at}: {error}");
        let is_contradiction = matches!(&error, Error::Config { setting, .. } if setting == "overwrite");
        if observer.asked.load(Ordering::SeqCst) <= at {
            assert!(is_contradiction, "{error:?}");
            assert!(at > 1, "nothing was asked");
            break;
        }
        assert!(is_contradiction || matches!(error, Error::Checkpoint(_)), "question {at}: {error:?}");
    }
}

/// A disk on which the first attempts to open a checkpoint fail.
struct FailsUntil {
    failing: usize,
    opened: AtomicUsize,
}

impl Observer for FailsUntil {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_opened =
            matches!(operation, Operation::Open(path, _) if path.extension().is_some_and(|it| it == "ckpt"));
        match is_opened && self.opened.fetch_add(1, Ordering::SeqCst) < self.failing {
            true => Verdict::Fail(std::io::Error::from_raw_os_error(116)), // ESTALE
            false => Verdict::Proceed,
        }
    }
}

#[test]
fn overwrite_with_auto_removes_no_checkpoint_that_cannot_be_read_for_a_moment() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let before = files(&checkpoints(root.path()));
    let mut unread = 0;
    for failing in (0..16).chain([1000]) {
        let observer = Arc::new(FailsUntil { failing, opened: AtomicUsize::new(0) });
        let observation = observe(root.path(), observer);
        let error = train(overwriting(root.path(), 2).with_ckpt_path("auto")).map(|_| ()).unwrap_err();
        drop(observation);
        assert_eq!(files(&checkpoints(root.path())), before, "{failing} times: {error}");
        if let Error::NothingToResume { .. } = &error {
            unread += 1;
            let said = error.to_string();
            assert!(said.contains("start again when they can be read"), "{said}");
        }
    }
    assert!(unread > 1, "no start came to the end of its search: {unread}");
}

#[test]
fn overwrite_with_auto_starts_again_where_all_checkpoints_are_lost_and_only_there() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let last = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    std::fs::remove_dir_all(checkpoints(root.path()).join("best")).unwrap();
    std::fs::remove_file(last.with_added_extension("metadata.json")).unwrap();
    let whole = std::fs::read(&last).unwrap();
    let writer = burn_ckpt::burn_pack::Writer::new(Vec::new()).auto_extension(false);
    writer.with_metadata("burn-ckpt.format", "7").write_to_file(&last).unwrap();
    let again = || train(overwriting(root.path(), 1).with_ckpt_path("auto")).map(|result| result.global_step);
    let error = again().unwrap_err();
    assert!(matches!(error, Error::NothingToResume { .. }), "{error:?}");
    std::fs::write(&last, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(again().unwrap(), 10);
}

#[test]
fn overwrite_and_resuming_contradict_each_other() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    for wanted in ["auto", "last", "best"] {
        refused(overwriting(root.path(), 2).with_ckpt_path(wanted));
    }
}

#[test]
fn overwrite_with_auto_starts_a_new_run_where_there_is_nothing_to_resume_from() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(train(overwriting(root.path(), 1).with_ckpt_path("auto")).unwrap().global_step, 10);
}

#[test]
fn the_checkpoint_that_is_resumed_from_is_not_overwritten_also_where_it_is_a_copy() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let [inside, outside] = [&directory, elsewhere.path()].map(|place: &Path| place.join("keep.ckpt"));
    for place in [&inside, &outside] {
        copy_checkpoint(&directory.join("last/epoch=0-step=10.ckpt"), place);
    }
    refused(overwriting(root.path(), 2).with_ckpt_path(inside.to_str().unwrap()));
    // A checkpoint outside of what is deleted can be resumed from.
    let result = train(overwriting(root.path(), 2).with_ckpt_path(outside.to_str().unwrap())).unwrap();
    assert_eq!(result.global_step, 20);
    assert_eq!(stems(&directory.join("last")), ["epoch=1-step=20"]);
}

#[test]
fn what_an_earlier_start_saved_outside_of_the_run_is_overwritten_too() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let best = Best::new().with_dirpath(elsewhere.path().to_path_buf());
    train(config(root.path(), 1).with_strategies([StrategyConfig::Best(best)])).unwrap();
    assert!(checkpoints(root.path()).join("best_val_loss.ckpt").exists());
    assert_eq!(stems(elsewhere.path()), ["epoch=0-step=10"]);
    std::fs::write(elsewhere.path().join("notes.txt"), "mine").unwrap();
    // Now no strategy names that directory. What is there is of the run all the same: `auto` would resume
    // from it.
    let last = StrategyConfig::Last(Last::default());
    train(overwriting(root.path(), 1).with_strategies([last])).unwrap();
    assert_eq!(files(elsewhere.path()), ["notes.txt"]);
    let links: Vec<String> =
        files(&checkpoints(root.path())).into_iter().filter(|name| name.contains("best")).collect();
    assert!(links.is_empty(), "{links:?}");
}

#[test]
fn files_of_the_users_among_the_checkpoints_stay() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let directory = checkpoints(root.path());
    let mine = ["notes.txt", "last/notes.txt", "mine/deeper/notes.txt"];
    std::fs::create_dir_all(directory.join("mine/deeper")).unwrap();
    std::fs::create_dir_all(directory.join("empty/also")).unwrap();
    mine.iter().for_each(|name| std::fs::write(directory.join(name), "mine").unwrap());
    // Broken ones go like whole ones.
    std::fs::write(directory.join("last/epoch=7-step=80.ckpt"), b"NRUB\x01\0cut off").unwrap();
    std::fs::write(directory.join("last/epoch=8-step=90.ckpt"), [0; 64]).unwrap();
    std::fs::write(directory.join("last/epoch=9-step=100.ckpt"), "").unwrap();
    train(overwriting(root.path(), 1).with_checkpoint_saving(false)).unwrap();
    let mut mine = mine.map(str::to_owned);
    mine.sort();
    assert_eq!(files(&directory), mine, "no checkpoint, no metadata, no link");
    assert!(!directory.join("best").exists() && !directory.join("empty").exists());
}
