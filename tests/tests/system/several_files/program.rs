//! `burn-ckpt` on a run whose checkpoints are in several files.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::Limits;
use burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Best, Last, StrategyConfig};
use serde_json::Value;
use system_tests::models::small::train_within;
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::{checkpoints, files, metadata_path, run_dir};
use system_tests::{config, train};

/// A run of three epochs, all of which are kept, in several files if `limits` say so.
fn run(limits: Limits) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 3).with_strategies([
        StrategyConfig::Best(Best::new()),
        StrategyConfig::Last(Last::new().with_topk(TopK::All)),
    ]);
    train_within(config, limits).unwrap();
    root
}

fn several() -> tempfile::TempDir {
    run(Limits { tensors: 8, ..Limits::READER })
}

fn program(arguments: &[&dyn AsRef<OsStr>], status: i32) -> (String, String) {
    ended_with(&burn_ckpt(arguments), status)
}

fn json(arguments: &[&dyn AsRef<OsStr>]) -> Value {
    serde_json::from_str(&program(arguments, 0).0).unwrap()
}

/// A checkpoint's file and its shards.
fn all_files(checkpoint: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(checkpoint.with_extension("shards")).unwrap();
    let mut files: Vec<PathBuf> = shards.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.insert(0, checkpoint.to_path_buf());
    files
}

fn size(files: &[PathBuf]) -> u64 {
    files.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn ls_lists_each_checkpoint_once_with_the_size_of_all_its_files() {
    let root = several();
    let listed = json(&[&"ls", &run_dir(root.path()), &"--json"]);
    let rows = listed[0]["checkpoints"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let path = PathBuf::from(row["path"].as_str().unwrap());
        assert_eq!(row["whole"], true);
        assert_eq!(row["size_bytes"], size(&all_files(&path)));
    }
    let last = checkpoints(root.path()).join("last/epoch=2-step=30.ckpt");
    fs::remove_file(&all_files(&last)[2]).unwrap();
    let (out, _) = program(&[&"ls", &run_dir(root.path())], 1);
    let line = out.lines().find(|line| line.starts_with("last/epoch=2")).unwrap();
    assert!(line.contains("state-00002-of-") && line.contains("is missing"), "{line}");
}

#[test]
fn show_says_in_how_many_files_it_is_and_verify_names_the_one_that_differs() {
    let root = several();
    let last = checkpoints(root.path()).join("last/epoch=2-step=30.ckpt");
    let files = all_files(&last);
    let (out, err) = program(&[&"show", &run_dir(root.path()).join("last")], 0);
    assert!(out.contains(&format!("in {} files", files.len())) && err.is_empty(), "{out}{err}");
    let (out, _) = program(&[&"verify", &run_dir(root.path())], 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("verified")).count(), 4, "{out}");
    let mut bytes = fs::read(&files[3]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[3], bytes).unwrap();
    let (out, _) = program(&[&"verify", &last], 1);
    let name = files[3].file_name().unwrap().to_str().unwrap();
    assert!(out.starts_with("damaged") && out.contains(name) && out.contains("in the tensor"), "{out}");
}

#[test]
fn describe_diff_and_export_give_what_they_give_for_one_file() {
    let (root, one) = (several(), run(Limits::READER));
    let place = "last/epoch=2-step=30.ckpt";
    let [last, other] = [&root, &one].map(|root| checkpoints(root.path()).join(place));
    let beside = metadata_path(&last);
    let written = fs::read_to_string(&beside).unwrap();
    fs::remove_file(&beside).unwrap();
    program(&[&"describe", &last], 0);
    assert_eq!(fs::read_to_string(&beside).unwrap(), written);

    let (out, _) = program(&[&"diff", &last, &last], 0);
    assert!(out.starts_with("no difference"), "{out}");
    let differences = json_of_diff(&last, &other);
    assert_eq!(differences["tensors"], serde_json::json!([]), "{differences}");
    assert!(differences["tensors_compared"].as_u64() > Some(10), "{differences}");

    let exported = [&last, &other].map(|checkpoint| {
        let out = checkpoint.with_extension("safetensors");
        program(&[&"export", checkpoint, &out, &"--section", &"optimizer"], 0);
        let bytes = fs::read(out).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    });
    assert!(!exported[0].is_empty() && exported[0] == exported[1]);
    let shard = &all_files(&last)[1];
    let (_, err) = program(&[&"export", &last, shard, &"--force"], 1);
    assert!(err.contains("is the checkpoint itself"), "{err}");
}

fn json_of_diff(a: &Path, b: &Path) -> Value {
    let output = burn_ckpt(&[&"diff", &a, &b, &"--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn prune_removes_all_files_of_a_checkpoint_and_counts_them() {
    let root = several();
    let directory = checkpoints(root.path());
    let removed = ["last/epoch=0-step=10.ckpt", "last/epoch=1-step=20.ckpt"].map(|name| directory.join(name));
    // Unfinished ones too.
    let staged = directory.join("last/.epoch=3-step=40.shards.0-0123456789abcdef.staging");
    fs::create_dir(&staged).unwrap();
    fs::write(staged.join("state-00001-of-00001.ckpt"), "unfinished").unwrap();
    let freed = json(&[&"prune", &run_dir(root.path()), &"--keep=last=1", &"--json", &"--dry-run"]);
    let freed = freed["removed"].as_array().unwrap();
    for (path, freed) in removed.iter().zip(freed) {
        assert_eq!(freed["freed_bytes"], size(&all_files(path)), "{freed}");
    }
    program(&[&"prune", &run_dir(root.path()), &"--keep=last=1"], 0);
    assert!(files(&directory).iter().all(|name| !name.contains("step=10") && !name.contains("step=20")));
    for path in removed {
        assert!(!path.with_extension("shards").exists());
    }
    assert!(!staged.exists());
    program(&[&"verify", &run_dir(root.path())], 0);
}

#[test]
fn a_directory_of_shards_is_not_one_for_checkpoints() {
    let root = tempfile::tempdir().unwrap();
    let best = Best::new().with_dirpath("mine.shards");
    let error = train(config(root.path(), 1).with_best(best)).err().unwrap();
    assert!(error.to_string().contains("does not end in .shards"), "{error}");
}

#[test]
fn a_damaged_shard_of_one_name_is_found_though_the_index_has_another_name() {
    let root = several();
    let best = files(&checkpoints(root.path()).join("best"));
    let name = best.iter().find(|name| name.ends_with(".ckpt") && !name.contains('/')).unwrap();
    for place in ["best", "last"] {
        let checkpoint = checkpoints(root.path()).join(place).join(name);
        let shard = all_files(&checkpoint).pop().unwrap();
        let whole = fs::read(&shard).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        // A file of its own, as a copy is.
        fs::remove_file(&shard).unwrap();
        fs::write(&shard, bytes).unwrap();
        let (out, _) = program(&[&"verify", &run_dir(root.path())], 1);
        let damaged: Vec<&str> = out.lines().filter(|line| line.starts_with("damaged")).collect();
        assert!(
            damaged.len() == 1
                && [".ckpt", "/"].iter().any(|end| damaged[0].contains(&format!("{place}{end}"))),
            "{out}"
        );
        fs::write(&shard, whole).unwrap();
    }
}
