//! Paths and names that are too long for a file system: an error before training.

use std::path::PathBuf;

use burn_ckpt::ErrorKind;
use burn_trainer::Error;
use system_tests::{config, train};

/// A root whose run has a directory of checkpoints with a path of this length.
fn root_for(top: &std::path::Path, run_id: &str, length: usize) -> PathBuf {
    let mut root = top.to_path_buf();
    let below = "/burn_trainer_logs//checkpoint".len() + run_id.len();
    loop {
        let left = length - below - root.as_os_str().len();
        match left {
            0 | 1 => return root,
            left => root.push("x".repeat((left - 1).min(100))),
        }
    }
}

#[test]
fn a_path_that_is_too_long_for_the_files_in_it_is_an_error_before_training() {
    let run_id = "r".repeat(160);
    // PATH_MAX is 4096 with the end. The directory of checkpoints would fit, and no checkpoint in it.
    for length in [4_000, 4_050, 4_300] {
        let top = tempfile::tempdir().unwrap();
        let root = root_for(top.path(), &run_id, length);
        let error = train(config(&root, 1).with_run_id(run_id.clone())).map(|_| ()).unwrap_err();
        let Error::Checkpoint(burn_ckpt::Error::Io { source, .. }) = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::InvalidFilename, "{length}: {error}");
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0, "{length}: nothing is created");
    }
}

#[test]
fn the_longest_run_id_works() {
    let top = tempfile::tempdir().unwrap();
    train(config(top.path(), 1).with_run_id("r".repeat(160))).unwrap();
    let error = train(config(top.path(), 1).with_run_id("r".repeat(161))).map(|_| ()).unwrap_err();
    let Error::Checkpoint(cause) = &error else { panic!("{error}") };
    assert_eq!(cause.kind(), ErrorKind::InvalidName, "{error}");
}
