//! A run that saves its states in several files: saves, retention, links, second names and resumes are those
//! of a run with one file.

use std::path::Path;

use burn_ckpt::plumbing::Limits;
use burn_ckpt::{Checkpoint, Metadata};
use burn_trainer::{FitResult, TrainerConfig};
use system_tests::models::small::{Model, train_within};
use system_tests::run_files::{checkpoints, clear_clock, files, leftovers, metadata_path, run_dir};
use system_tests::{config, train};

/// The small model's state has 15 tensors and more.
const LIMITS: Limits = Limits { tensors: 6, ..Limits::READER };

fn in_several(config: TrainerConfig) -> FitResult<Model> {
    train_within(config, LIMITS).unwrap()
}

fn auto(root: &Path, epochs: usize) -> TrainerConfig {
    config(root, epochs).with_ckpt_path("auto")
}

/// The tensors of a checkpoint, and what it says of its state.
fn state(path: &Path) -> (Metadata, serde_json::Value) {
    let checkpoint = Checkpoint::open(path).unwrap();
    let metadata = checkpoint.verify().unwrap();
    let mut state: serde_json::Value = checkpoint.trainer_state().unwrap();
    clear_clock(&mut state);
    (metadata, state)
}

fn assert_same_state(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(state);
    assert_eq!(one.0.tensors, other.0.tensors);
    assert_eq!(one.1, other.1);
}

#[test]
fn a_run_in_several_files_trains_to_the_same_state_and_resumes_exactly() {
    let [one, several, two_parts] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    train(config(one.path(), 3)).unwrap();
    in_several(config(several.path(), 3));
    in_several(auto(two_parts.path(), 1));
    in_several(auto(two_parts.path(), 3));
    let links = ["last.ckpt", "best_val_loss.ckpt"];
    for root in [&several, &two_parts] {
        for link in links {
            let (found, expected) = (checkpoints(root.path()).join(link), checkpoints(one.path()).join(link));
            assert!(found.is_symlink());
            assert_same_state(&expected, &found);
            assert!(state(&found).0.shards.len() > 2);
        }
        // As many checkpoints as with one file, each with its shards, and nothing else.
        let without_shards = |name: &String| !name.contains(".shards/");
        let names =
            |root: &Path| files(&checkpoints(root)).into_iter().filter(without_shards).collect::<Vec<_>>();
        assert_eq!(names(root.path()), names(one.path()));
        assert_eq!(leftovers(&run_dir(root.path())), [""; 0]);
        for name in files(&checkpoints(root.path())) {
            if let Some((stem, _)) = name.split_once(".shards/") {
                assert!(checkpoints(root.path()).join(format!("{stem}.ckpt")).is_file(), "{name}");
            }
        }
    }
    // A run that began in several files resumes in one, and the other way around.
    let changed = tempfile::tempdir().unwrap();
    in_several(auto(changed.path(), 1));
    train(auto(changed.path(), 2)).unwrap();
    in_several(auto(changed.path(), 3));
    assert_same_state(
        &checkpoints(one.path()).join("last.ckpt"),
        &checkpoints(changed.path()).join("last.ckpt"),
    );
}

#[test]
fn the_setting_divides_a_state_and_stands_in_the_metadata() {
    let root = tempfile::tempdir().unwrap();
    // The small model is smaller than its metadata: nothing to divide.
    train(config(root.path(), 1).with_max_file_bytes(1_000_000)).unwrap();
    let metadata = Metadata::read(metadata_path(&checkpoints(root.path()).join("last.ckpt"))).unwrap();
    assert_eq!(metadata.trainer_config["max_file_bytes"], 1_000_000);
    assert!(metadata.shards.is_empty());
    for (bytes, expected) in [(0, "max_file_bytes"), (100, "a file may have 100: set max_file_bytes to")] {
        let root = tempfile::tempdir().unwrap();
        let error = train(config(root.path(), 1).with_max_file_bytes(bytes)).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!run_dir(root.path()).exists());
    }
}

#[test]
fn the_second_name_of_a_state_has_shards_of_its_own() {
    use std::os::unix::fs::MetadataExt;

    let root = tempfile::tempdir().unwrap();
    in_several(auto(root.path(), 1));
    let [best, last] =
        ["best", "last"].map(|name| checkpoints(root.path()).join(name).join("epoch=0-step=10.ckpt"));
    assert_same_state(&best, &last);
    let inode = |path: &Path| {
        let shards = std::fs::read_dir(path.with_extension("shards")).unwrap();
        let mut inodes: Vec<u64> = shards.map(|shard| shard.unwrap().metadata().unwrap().ino()).collect();
        inodes.sort_unstable();
        inodes
    };
    assert_eq!(inode(&best), inode(&last));
    // A kill prevented it.
    burn_ckpt::plumbing::remove_checkpoint(&last).unwrap();
    in_several(auto(root.path(), 1));
    assert_same_state(&best, &last);
}
