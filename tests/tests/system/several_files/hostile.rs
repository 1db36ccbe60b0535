//! Hostile shards: each is an error of a known kind, within seconds.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::chain;
use burn_ckpt::plumbing::{Limits, blake3_hex};
use burn_ckpt::{Checkpoint, Contents, ErrorKind, Metadata, Section};
use ciborium::{Value, cbor};
use jiff::Timestamp;
use serde_json::json;
use system_tests::forged_checkpoint::Parts;
use system_tests::run_files::metadata_path;
use system_tests::{backend, cpu_time};

/// Of a processor, in the calling thread.
const LONGEST: Duration = Duration::from_secs(1);

/// A checkpoint of two shards with a tensor each.
fn saved(directory: &Path) -> (PathBuf, [PathBuf; 2]) {
    let model: Linear = LinearConfig::new(2, 2).init(&backend::device());
    let contents = Contents::new(&json!({ "a": 1 })).unwrap();
    let contents = contents.with_section("model", Section::from_module(&model));
    // The two of the index, and one of a shard's with them in a file, are too many.
    let contents = contents
        .with_section("user.more", Section::from_module(&model))
        .with_limits(Limits { tensors: 2, ..Limits::READER });
    let path = directory.join("a.ckpt");
    contents.save(&path, Metadata::new(Timestamp::now()).with_run_id("a")).unwrap();
    let shards = [1, 2].map(|number| directory.join(format!("a.shards/state-0000{number}-of-00002.ckpt")));
    (path, shards)
}

/// Opens and verifies it. Returns the kind of the error, and its text.
fn failed(path: &Path) -> (ErrorKind, String) {
    let begin = cpu_time::of_thread();
    let error = Checkpoint::open(path).and_then(|checkpoint| checkpoint.verify()).unwrap_err();
    assert!(cpu_time::of_thread() - begin < LONGEST, "{error}");
    let text = chain(&error);
    assert!(text.len() < 2000, "{text}");
    (error.kind(), text)
}

#[test]
fn something_else_in_a_shards_place_is_an_error() {
    type Put = fn(&Path);
    let cases: [(&str, Put, &[ErrorKind]); 7] = [
        (
            "a pipe",
            |path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
            &[ErrorKind::NotACheckpoint],
        ),
        ("a directory", |path| fs::create_dir(path).unwrap(), &[ErrorKind::NotACheckpoint]),
        ("a loop of links", |path| std::os::unix::fs::symlink(path, path).unwrap(), &[ErrorKind::Io]),
        (
            "a link to nothing",
            |path| std::os::unix::fs::symlink("nothing", path).unwrap(),
            &[ErrorKind::Damaged],
        ),
        (
            "a link to a device",
            |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
            &[ErrorKind::NotACheckpoint],
        ),
        ("an empty file", |path| fs::write(path, "").unwrap(), &[ErrorKind::Damaged]),
        (
            "a sparse terabyte",
            |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            &[ErrorKind::Damaged],
        ),
    ];
    for (what, put, kinds) in cases {
        let directory = tempfile::tempdir().unwrap();
        let (path, [_, second]) = saved(directory.path());
        fs::remove_file(&second).unwrap();
        put(&second);
        let (kind, text) = failed(&path);
        assert!(kinds.contains(&kind), "{what}: {kind:?}: {text}");
        assert!(text.contains("state-00002-of-00002"), "{what}: {text}");
    }
}

#[test]
fn a_count_that_is_not_the_shards_is_an_error() {
    for (count, expected) in [
        ("4000000000", "1 to 512 are allowed"),
        ("0", "1 to 512 are allowed"),
        ("-1", "1 to 512 are allowed"),
        ("two", "1 to 512 are allowed"),
        ("3", "its header says that it has 3 shards, and its metadata 2"),
        ("1", "its header says that it has 1 shards, and its metadata 2"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = saved(directory.path());
        let metadata = serde_json::to_value(Metadata::read(metadata_path(&path)).unwrap()).unwrap();
        let mut parts = Parts::read(&path);
        let strings = parts.map("metadata");
        strings.retain(|(key, _)| key.as_text() != Some("burn-ckpt.shards"));
        strings.push((Value::Text("burn-ckpt.shards".to_owned()), Value::Text(count.to_owned())));
        let tensors = metadata["tensors"].clone();
        parts.write_index(&path, &metadata);
        let (kind, text) = failed(&path);
        assert_eq!(kind, ErrorKind::Damaged, "{count}: {text}");
        assert!(text.contains(expected), "{count}: {text}");
        assert!(tensors.is_object());
    }
}

#[test]
fn metadata_that_asks_for_more_shards_than_there_may_be_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = saved(directory.path());
    let mut metadata = serde_json::to_value(Metadata::read(metadata_path(&path)).unwrap()).unwrap();
    let shard = metadata["shards"][0].clone();
    metadata["shards"] = vec![shard; 600].into();
    let mut parts = Parts::read(&path);
    let strings = parts.map("metadata");
    strings.retain(|(key, _)| key.as_text() != Some("burn-ckpt.shards"));
    strings.push((Value::Text("burn-ckpt.shards".to_owned()), Value::Text("600".to_owned())));
    parts.write_index(&path, &metadata);
    assert_eq!(failed(&path).0, ErrorKind::Damaged);
}

#[test]
fn a_tensor_in_two_shards_or_in_the_index_too_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (path, [first, second]) = saved(directory.path());
    let metadata = Metadata::read(metadata_path(&path)).unwrap();
    // The first shard's header in the second's place, with sizes and digests that agree.
    fs::copy(&first, &second).unwrap();
    let mut said = serde_json::to_value(&metadata).unwrap();
    said["shards"][1] = said["shards"][0].clone();
    Parts::read(&path).write_index(&path, &said);
    let (kind, text) = failed(&path);
    assert_eq!(kind, ErrorKind::Damaged, "{text}");
    assert!(text.contains("is in its shards twice"), "{text}");

    let (path, _) = {
        fs::remove_dir_all(directory.path().join("a.shards")).unwrap();
        saved(directory.path())
    };
    let said = serde_json::to_value(Metadata::read(metadata_path(&path)).unwrap()).unwrap();
    let mut parts = Parts::read(&path);
    let tensor = cbor!({ "dtype" => "F32", "shape" => [2], "data_offsets" => [0, 8] }).unwrap();
    parts.map("tensors").push((Value::Text("model.weight".to_owned()), tensor));
    parts.data = vec![0; 8];
    parts.write_index(&path, &said);
    let (kind, text) = failed(&path);
    assert_eq!(kind, ErrorKind::Damaged, "{text}");
    assert!(text.contains("tensors of its own"), "{text}");
}

#[test]
fn a_shard_whose_header_lies_is_an_error_though_its_digest_agrees() {
    for (change, expected) in
        [("offset", "cut off"), ("padding", "bytes of no tensor"), ("longer", "entries end at")]
    {
        let directory = tempfile::tempdir().unwrap();
        let (path, [_, second]) = saved(directory.path());
        let mut said = serde_json::to_value(Metadata::read(metadata_path(&path)).unwrap()).unwrap();
        let mut parts = Parts::read(&second);
        match change {
            "offset" => {
                let (_, tensor) = &mut parts.map("tensors")[0];
                let offsets = Value::Array(vec![Value::from(0), Value::from(1_000_000)]);
                *system_tests::forged_checkpoint::entry(tensor, "data_offsets") = offsets;
            }
            "padding" => {
                for (_, tensor) in parts.map("tensors") {
                    let offsets = system_tests::forged_checkpoint::entry(tensor, "data_offsets");
                    let [from, to] = offsets.deserialized::<[u64; 2]>().unwrap();
                    *offsets = Value::Array(vec![Value::from(from + 512), Value::from(to + 512)]);
                }
                parts.data = [vec![0; 512], parts.data.clone()].concat();
            }
            _ => parts.data.extend([0; 7]),
        }
        parts.write_alone(&second);
        let bytes = fs::read(&second).unwrap();
        let header = bytes.len() - parts.data.len();
        said["shards"][1] = json!({
            "size_bytes": bytes.len(),
            "checksum": burn_ckpt::plumbing::sha256_of_file(&second).unwrap(),
            "header_blake3": blake3_hex(&bytes[..header]),
        });
        Parts::read(&path).write_index(&path, &said);
        let (kind, text) = failed(&path);
        assert_eq!(kind, ErrorKind::Damaged, "{change}: {text}");
        assert!(text.contains(expected) && text.contains("state-00002"), "{change}: {text}");
    }
}
