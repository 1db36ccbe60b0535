//! `burn-ckpt import` of a model in several files: by their index as a whole, and a part of it is an error.

use std::path::{Path, PathBuf};
use std::process::Output;

use burn_ckpt::{Checkpoint, Section};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::hand_made_files::write_safetensors;
use system_tests::models::pytorch_twin::{Inputs, Net, assert_same_outputs};
use system_tests::programs::commands::{burn_ckpt_command, stderr, stdout};
use system_tests::programs::python::run_script;
use system_tests::run_files::files;

fn import(file: &Path, out: &Path, more: &[&str]) -> Output {
    let words = ["import", file.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

/// A directory with two shards of one tensor each, `a` and `b`, and an index.
fn two_shards(index: &Value) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    for (number, name) in [(1, "a"), (2, "b")] {
        let header = format!(r#"{{"{name}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}}"#);
        write_safetensors(&directory.path().join(shard(number)), &header, &[number, 9]);
    }
    let path = directory.path().join("model.safetensors.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    (directory, path)
}

fn shard(number: u8) -> String {
    format!("model-0000{number}-of-00002.safetensors")
}

fn index(pairs: &[(&str, &str)]) -> Value {
    let map: serde_json::Map<String, Value> =
        pairs.iter().map(|(tensor, file)| ((*tensor).to_owned(), json!(file))).collect();
    json!({ "metadata": { "total_size": 4 }, "weight_map": map })
}

/// Imports what cannot be imported. The error, after which nothing is left behind.
fn error_of(directory: &Path, file: &Path) -> String {
    let before = files(directory);
    let output = import(file, &directory.join("out.ckpt"), &[]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("error: ") && !error.contains("panicked"), "{error}");
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(files(directory), before, "{error}");
    error
}

#[test]
fn what_pytorch_saved_in_parts_computes_the_same_in_burn() {
    let directory = tempfile::tempdir().unwrap();
    let (inputs, given) = (Inputs::new(), directory.path().join("inputs.json"));
    std::fs::write(&given, inputs.to_json().to_string()).unwrap();
    let outputs = run_script("save_shards.py", &[directory.path(), &given]);
    for index in ["model.safetensors.index.json", "pytorch_model.bin.index.json"] {
        let out = directory.path().join(format!("{index}.ckpt"));
        let printed = stdout(&import(&directory.path().join(index), &out, &[]));
        assert!(printed.contains(": 21 tensors, "), "{printed}");
        let net = Checkpoint::open(&out).unwrap().load_into(Net::new(&backend::device())).unwrap();
        assert_same_outputs(&net.outputs(&inputs), &outputs);
    }
    for part in ["model-00001-of-00003.safetensors", "pytorch_model-00002-of-00002.bin"] {
        let error = error_of(directory.path(), &directory.path().join(part));
        let index = if part.starts_with("model") { "model.safetensors" } else { "pytorch_model.bin" };
        assert!(error.contains(&format!("import their index, {index}.index.json")), "{error}");
    }
}

#[test]
fn a_part_is_known_by_its_name_or_by_the_index_beside_it() {
    let (directory, index_file) = two_shards(&index(&[("a", "x.safetensors"), ("b", "y.safetensors")]));
    let place = |name: &str| directory.path().join(name);
    std::fs::rename(place(&shard(1)), place("x.safetensors")).unwrap();
    let error = error_of(directory.path(), &place("x.safetensors"));
    assert!(error.contains("model.safetensors.index.json"), "{error}");
    let error = error_of(directory.path(), &place(&shard(2)));
    assert!(error.contains("part 2 of 2") && error.contains("model.safetensors.index.json"), "{error}");
    std::fs::remove_file(index_file).unwrap();
    stdout(&import(&place("x.safetensors"), &place("x.ckpt"), &[]));
    // A model in one file that is numbered.
    std::fs::rename(place(&shard(2)), place("model-00001-of-00001.safetensors")).unwrap();
    stdout(&import(&place("model-00001-of-00001.safetensors"), &place("y.ckpt"), &[]));
}

#[test]
fn an_index_that_is_wrong_or_hostile_is_an_error_that_says_why() {
    let [first, second] = [shard(1), shard(2)];
    for (index, facts) in [
        (index(&[("a", &first), ("b", "gone.safetensors")]), &["gone.safetensors", "not beside it"][..]),
        (index(&[("a", &first), ("c", &second)]), &["lack", "c in model-00002"]),
        (index(&[("a", &second), ("b", &second)]), &["lack", "a in model-00002"]),
        (index(&[("a", "../a.safetensors")]), &["../a.safetensors", "beside it"]),
        (index(&[("a", "/etc/passwd")]), &["/etc/passwd", "beside it"]),
        (index(&[("a", ".")]), &["beside it"]),
        (index(&[("a", "model.safetensors.index.json")]), &["is an index"]),
        (index(&[]), &["names no tensor"]),
        (json!({ "weight_map": ["a"] }), &["not the index"]),
        (json!({ "hidden": 3 }), &["not the index", "weight_map"]),
        (json!({ "weight_map": { "a": { "b": 1 } } }), &["not the index"]),
    ] {
        let (directory, file) = two_shards(&index);
        let error = error_of(directory.path(), &file);
        for fact in facts {
            assert!(error.contains(fact), "{fact}: {error}");
        }
    }
    let (directory, file) = two_shards(&json!({}));
    std::fs::write(&file, format!(r#"{{"weight_map":{}"#, "[".repeat(100_000))).unwrap();
    error_of(directory.path(), &file);
    // More than an index has, without a byte on the disk.
    std::fs::write(&file, "{").unwrap();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
    assert!(error_of(directory.path(), &file).contains("at most"));
    // A pipe in a shard's place is not waited for.
    let (directory, file) = two_shards(&index(&[("a", "pipe"), ("b", &second)]));
    assert!(
        std::process::Command::new("mkfifo").arg(directory.path().join("pipe")).status().unwrap().success()
    );
    assert!(error_of(directory.path(), &file).contains("not a regular file"));
}

#[test]
fn tensors_that_the_index_does_not_name_are_left_out_and_said() {
    let (directory, file) = two_shards(&index(&[("a", &shard(1))]));
    let out = directory.path().join("out.ckpt");
    let output = import(&file, &out, &[]);
    assert!(stdout(&output).contains("1 tensor,"), "{}", stdout(&output));
    // Its file is not named either.
    assert!(!stderr(&output).contains("left out"), "{}", stderr(&output));
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"more":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    write_safetensors(&directory.path().join(shard(1)), header, &[1, 2]);
    let output = import(&file, &out, &["--force"]);
    stdout(&output);
    assert!(stderr(&output).contains("left out: more in model-00001-of-00002"), "{}", stderr(&output));
    let tensors = Checkpoint::open(&out).unwrap().section(Section::MODEL).unwrap().tensors;
    assert_eq!(tensors.len(), 1);
}

#[test]
fn a_shard_is_not_overwritten() {
    let (directory, file) = two_shards(&index(&[("a", &shard(1)), ("b", &shard(2))]));
    let out = directory.path().join(shard(2));
    let before = std::fs::read(&out).unwrap();
    let output = import(&file, &out, &["--force"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is not the name of a checkpoint"), "{}", stderr(&output));
    assert_eq!(std::fs::read(&out).unwrap(), before);
}
