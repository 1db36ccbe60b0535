//! `burn-ckpt describe`: the metadata file beside a checkpoint, from the checkpoint alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with, workspace};
use system_tests::run_files::{checkpoints, last_tensor_byte, metadata};
use system_tests::{config, train};

fn beside(checkpoint: &Path) -> PathBuf {
    PathBuf::from(format!("{}.metadata.json", checkpoint.display()))
}

#[test]
fn it_is_written_as_it_was_byte_for_byte_under_each_name_of_a_state() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    // One state, saved for two reasons.
    for name in ["best", "last"] {
        let path = checkpoints(root.path()).join(name).join("epoch=0-step=10.ckpt");
        let written = fs::read_to_string(beside(&path)).unwrap();
        assert!(written.contains(&format!("\"reason\": \"{name}\"")), "{written}");
        fs::remove_file(beside(&path)).unwrap();
        let (out, err) = ended_with(&burn_ckpt(&[&"describe", &path]), 0);
        assert_eq!((out, err.as_str()), (format!("wrote {}\n", beside(&path).display()), ""));
        assert_eq!(fs::read_to_string(beside(&path)).unwrap(), written);

        let (_, err) = ended_with(&burn_ckpt(&[&"describe", &path]), 1);
        assert!(err.contains("exists: --force replaces it"), "{err}");
        for wrong in [json!({}).to_string(), written.replace("sha256:", "sha256:0")] {
            fs::write(beside(&path), wrong).unwrap();
            ended_with(&burn_ckpt(&[&"describe", &path, &"--force"]), 0);
            assert_eq!(fs::read_to_string(beside(&path)).unwrap(), written);
        }
    }
}

#[test]
fn as_json_it_says_what_was_described_and_what_was_written() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let path = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    let (out, err) = ended_with(&burn_ckpt(&[&"describe", &path, &"--force", &"--json"]), 0);
    let said: Value = serde_json::from_str(&out).unwrap();
    let metadata = metadata(&path);
    assert!(err.is_empty(), "{err}");
    assert_eq!(said["from"], json!(path));
    assert_eq!(said["path"], json!(beside(&path)));
    for key in ["run_id", "epoch", "global_step", "checkpoint_checksum"] {
        assert!(!said[key].is_null() && said[key] == metadata[key], "{key}: {said}");
    }
    assert_eq!(said["size_bytes"], fs::metadata(&path).unwrap().len());
    // What fails prints no JSON.
    let (out, err) = ended_with(&burn_ckpt(&[&"describe", &path, &"--json"]), 1);
    assert!(out.is_empty() && err.contains("--force"), "{out}{err}");
}

#[test]
fn a_damaged_file_and_one_of_version_1_are_not_described() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let path = root.path().join("lone.ckpt");
    let mut bytes = fs::read(checkpoints(root.path()).join("last/epoch=0-step=10.ckpt")).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"describe", &path]), 1);
    assert!(err.contains("is damaged"), "{err}");
    fs::copy(workspace().join("tests/golden/v1/imported/digits.ckpt"), &path).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"describe", &path]), 1);
    assert!(err.contains("format 1"), "{err}");
    assert!(!fs::exists(beside(&path)).unwrap());
}
