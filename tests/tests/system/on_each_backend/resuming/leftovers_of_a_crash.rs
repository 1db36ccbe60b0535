//! Opening a run after a crash: leftovers go, dangling links go, complete checkpoints stay.

use burn_ckpt::{Catalog, RunLayout};
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::run_files::{checkpoints, copy_checkpoint, files, stems, target};
use system_tests::{config, train};

#[test]
fn what_an_unfinished_write_left_is_removed_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let before = files(&directory);
    for leftover in [".last.ckpt.4242-0.staging", "last/.epoch=1-step=20.ckpt.4242-1.staging"] {
        std::fs::write(directory.join(leftover), "half a checkpoint").unwrap();
    }
    train(config(root.path(), 1).with_ckpt_path("auto")).unwrap();
    assert_eq!(files(&directory), before);
}

#[test]
fn links_that_lead_nowhere_are_put_right_or_dropped() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let directory = checkpoints(root.path());
    for link in ["last.ckpt", "best_other.ckpt"] {
        let _ = std::fs::remove_file(directory.join(link));
        std::os::unix::fs::symlink("last/no-such-file.ckpt", directory.join(link)).unwrap();
    }
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!(target(&directory.join("last.ckpt")), std::path::Path::new("last/epoch=1-step=20.ckpt"));
    assert!(!directory.join("best_other.ckpt").is_symlink());
}

#[test]
fn a_metadata_file_without_its_checkpoint_is_deleted() {
    // What is left of a save that was killed between its two renames, or of a removal.
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    let (from, orphan) = (
        directory.join("last/epoch=0-step=10.ckpt.metadata.json"),
        directory.join("last/epoch=1-step=19.ckpt.metadata.json"),
    );
    std::fs::copy(from, &orphan).unwrap();
    let foreign = directory.join("last/notes.json");
    std::fs::write(&foreign, "{}").unwrap();
    let layout = RunLayout::new(root.path(), "burn_trainer_logs", "r1").unwrap();
    let catalog = Catalog::scan(&layout).unwrap();
    assert_eq!((catalog.entries.len(), catalog.broken.len()), (2, 0));
    let result = train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!(result.global_step, 20);
    assert!(result.failed_saves.is_empty());
    assert!(!orphan.exists() && foreign.exists());
}

#[test]
fn an_evaluation_without_its_checkpoint_is_deleted() {
    // As one that was written while the run deleted its checkpoint.
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let last = checkpoints(root.path()).join("last");
    let orphan = last.join("epoch=1-step=19.ckpt.evaluation.json");
    let evaluations = |run: &str| format!("{{\"run_id\": \"{run}\", \"evaluations\": []}}");
    std::fs::write(&orphan, evaluations("r1")).unwrap();
    let others = ["epoch=1-step=18.ckpt.evaluation.json", "epoch=1-step=17.ckpt.evaluation.json"];
    std::fs::write(last.join(others[0]), evaluations("r2")).unwrap();
    std::fs::write(last.join(others[1]), "not JSON").unwrap();
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert!(!orphan.exists());
    assert!(others.iter().all(|other| last.join(other).exists()), "what is not the run's stays");
}

#[test]
fn a_removal_that_a_kill_prevented_is_made_up_for() {
    let (root, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |epochs| config(root.path(), epochs).with_strategies([StrategyConfig::Last(Last::default())]);
    train(run(1)).unwrap();
    let last = checkpoints(root.path()).join("last");
    let (old, kept) = (last.join("epoch=0-step=10.ckpt"), aside.path().join("old.ckpt"));
    copy_checkpoint(&old, &kept);
    train(run(2).with_ckpt_path("auto")).unwrap();
    // Two files where one is to be kept, as a kill between the new file's rename and the old one's removal
    // leaves.
    copy_checkpoint(&kept, &old);
    assert_eq!(stems(&last).len(), 2);
    train(run(2).with_ckpt_path("auto")).unwrap();
    assert_eq!(stems(&last), ["epoch=1-step=20"]);
    assert_eq!(files(&last).len(), 2, "its metadata went along");
}
