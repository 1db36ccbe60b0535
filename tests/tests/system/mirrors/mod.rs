//! Checkpoints in a store of objects: sent, found, got back; on a store that fails at any operation, in real
//! servers, and in a directory.

mod directories;
mod evaluations;
mod leases;
mod leftovers;
mod metrics_pieces;
mod program;
mod ranged_reads;
mod real_servers;
mod requests;
mod secrets;
mod sending;
mod settings;
mod simulation;

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::burn_pack::{Bytes, DType, Tensor};
use burn_ckpt::mirror::{MirrorAddress, Store, Writer};
use burn_ckpt::{Contents, Metadata, RunLayout, Section};
use jiff::Timestamp;
use serde_json::json;
use system_tests::object_stores::SimulatedStore;
use system_tests::random::SplitMix64;

/// Small, so that a small checkpoint has several parts.
const PART_BYTES: u64 = 4096;

/// An address for stores that are given.
fn address() -> MirrorAddress {
    "memory:tests".parse().unwrap()
}

/// What looks at a store without faults.
fn observer(objects: &SimulatedStore) -> Store {
    Store::with_objects(&address(), objects.observer(), PART_BYTES).unwrap()
}

/// A writer by the store's clock.
fn writer(objects: &SimulatedStore, name: &str, token: u64) -> Writer {
    let clock = objects.clone();
    Writer::new(name, token, move || clock.now())
}

/// The run `r1` in a directory.
fn run_in(root: &Path) -> RunLayout {
    RunLayout::new(root, "logs", "r1").unwrap()
}

/// A time of the tests.
fn time(second: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + second, 0).unwrap()
}

/// Two states of one name in two directories outside of the run, to which links lead.
fn of_one_name_outside(root: &Path, run: &RunLayout) -> [PathBuf; 2] {
    let saved = [("one", 1), ("two", 2)].map(|(directory, step)| {
        let place = root.join(directory).join("x.ckpt");
        save(run, place.to_str().unwrap(), step, time(step.cast_signed()), step, false)
    });
    fs::create_dir_all(run.checkpoint_dir()).unwrap();
    for (link, target) in ["best_val_loss.ckpt", "last.ckpt"].iter().zip(&saved) {
        std::os::unix::fs::symlink(target, run.checkpoint_dir().join(link)).unwrap();
    }
    saved
}

/// Saves a checkpoint of some kilobytes whose content follows from the number, with lines in the run's log.
/// With `files`, its state is in several.
fn save(run: &RunLayout, name: &str, step: u64, time: Timestamp, content: u64, files: bool) -> PathBuf {
    let path = run.checkpoint_dir().join(name);
    let mut random = SplitMix64::new(content);
    let mut section = Section::new();
    for number in 0..3 {
        let bytes: Vec<u8> = (0..2000).flat_map(|_| random.next_u64().to_le_bytes()).take(6000).collect();
        let tensor = Tensor::new(format!("w{number}"), DType::U8, [6000], None, Bytes::from_bytes_vec(bytes));
        section.tensors.push(tensor);
    }
    let log = append_to_log(run, step, content);
    let contents = Contents::default()
        .with_section(Section::MODEL, section)
        .with_trainer_state(json!({ "metrics_log": log }))
        .with_max_file_bytes(if files { 9000 } else { u64::MAX });
    let loss = random.fraction();
    let metadata = Metadata::new(time)
        .with_run_id("r1")
        .with_global_step(step)
        .with_metrics([("val_loss", f64::from(loss))])
        .with_reason("last");
    contents.save(&path, metadata).unwrap();
    path
}

/// Adds a line to the run's log. Returns the mark that a checkpoint has of it.
fn append_to_log(run: &RunLayout, step: u64, content: u64) -> serde_json::Value {
    let log = run.run_dir().join("metrics.jsonl");
    fs::create_dir_all(run.run_dir()).unwrap();
    let mut text = fs::read_to_string(&log).unwrap_or_default();
    let line = format!("{{\"step\":{step},\"content\":{content}}}\n");
    text.push_str(&line);
    fs::write(&log, &text).unwrap();
    let digest = burn_ckpt::metrics_log::line_digest(line.as_bytes());
    json!({ "bytes": text.len(), "last_line": format!("{digest:016x}") })
}

/// The files of a checkpoint: name -> bytes, without those of the directory.
fn files_of(checkpoint: &Path) -> Vec<(String, Vec<u8>)> {
    let shards = checkpoint.with_extension("shards");
    let mut files: Vec<PathBuf> = match fs::read_dir(&shards) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files.push(checkpoint.to_path_buf());
    files.push(PathBuf::from(format!("{}.metadata.json", checkpoint.display())));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}
