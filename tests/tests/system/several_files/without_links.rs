//! Where a link to a checkpoint of several files cannot be: a copy that follows links, and a file system
//! without them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::plumbing::Limits;
use burn_ckpt::plumbing::storage::observer::observe;
use burn_ckpt::{Checkpoint, locate};
use system_tests::config;
use system_tests::models::small::train_within;
use system_tests::run_files::{checkpoints, files, run_dir};
use system_tests::storage_faults::WithoutLinks;

const LIMITS: Limits = Limits { tensors: 8, ..Limits::READER };

/// Trains a run from its checkpoint of that name to this number of epochs.
fn resumed(root: &Path, name: &str, epochs: usize) -> u64 {
    train_within(config(root, epochs).with_ckpt_path(name), LIMITS).unwrap().global_step
}

fn step(path: &Path) -> u64 {
    Checkpoint::open(path).unwrap().verify().unwrap().global_step
}

#[test]
fn a_copy_whose_links_became_files_is_read_and_resumed_by_every_name() {
    let root = tempfile::tempdir().unwrap();
    resumed(root.path(), "auto", 2);
    for name in ["auto", "last", "best"] {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("burn_trainer_logs")).unwrap();
        let mut cp = std::process::Command::new("cp");
        cp.arg("-rL").args([run_dir(root.path()), run_dir(copy.path())]);
        assert!(cp.status().unwrap().success());
        let link = checkpoints(copy.path()).join("last.ckpt");
        assert!(link.is_file() && !link.is_symlink());
        for name in ["last", "best", "best_val_loss"] {
            let found = locate(run_dir(copy.path()).join(name)).unwrap();
            assert_ne!(found.parent(), link.parent(), "{name}: {}", found.display());
            step(&found);
        }
        assert_eq!(resumed(copy.path(), name, 3), 30);
        assert!(link.is_symlink());
        assert_eq!(step(&link), 30);
    }
}

#[test]
fn without_symbolic_links_there_is_no_link_and_last_and_best_are_found() {
    for hard_links in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let _observation = observe(root.path(), Arc::new(WithoutLinks { hard_links }));
        // A state of one file has a file in the place of the link, which must not stay there.
        let one_file = config(root.path(), 1).with_ckpt_path("auto");
        train_within(one_file, Limits::READER).unwrap();
        assert!(checkpoints(root.path()).join("last.ckpt").is_file());
        resumed(root.path(), "last", 2);
        let names = files(&checkpoints(root.path()));
        assert!(!names.iter().any(|name| name.starts_with("last.ckpt")), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("staging")), "{names:?}");
        assert_eq!(step(&run_dir(root.path()).join("last")), 20);
        step(&run_dir(root.path()).join("best"));
        assert_eq!(resumed(root.path(), "last", 3), 30);
        assert_eq!(resumed(root.path(), "auto", 4), 40);
    }
}
