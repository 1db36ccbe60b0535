//! One file is replaced by several, and several by one, while something fails: whatever is under the name is
//! complete.

use std::path::Path;
use std::sync::Arc;

use burn::nn::{Linear, LinearConfig};
use burn_ckpt::plumbing::Limits;
use burn_ckpt::plumbing::storage::observer::observe;
use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
use jiff::Timestamp;
use serde_json::json;
use system_tests::backend;
use system_tests::run_files::in_memory;
use system_tests::storage_faults::{FailingOperation, Fault, Place, faults_at};

/// A tensor in each shard.
const SEVERAL: Limits = Limits { tensors: 1, ..Limits::READER };
const SEED: u64 = 20;

fn save(root: &Path, model: &Linear, limits: Limits, step: u64) -> burn_ckpt::Result<u64> {
    let metadata = Metadata::new(Timestamp::now()).with_run_id("a").with_global_step(step);
    Contents::new(&json!({ "inputs": 2 }))?
        .with_section(Section::MODEL, Section::from_module(model))
        .with_limits(limits)
        .save(root.join("a.ckpt"), metadata)
}

/// Saves one after the other, the second while something fails. Returns the operations of the second.
fn disturbed(
    root: &Path,
    model: &Linear,
    order: [Limits; 2],
    disturbance: Option<(&Place, Fault)>,
) -> Vec<Place> {
    save(root, model, order[0], 1).unwrap();
    let disturbed = Arc::new(match disturbance {
        None => FailingOperation::noting(root),
        Some((place, fault)) => FailingOperation::at(root, place.clone(), fault),
    });
    let observation = observe(root, disturbed.clone());
    let saved = save(root, model, order[1], 2);
    drop(observation);
    let what = format!("{disturbance:?}");
    let metadata = Checkpoint::open(root.join("a.ckpt")).and_then(|checkpoint| checkpoint.verify());
    let metadata = metadata.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(metadata.global_step == 2 || saved.is_err(), "{what}: said to be saved");
    if let (None, Ok(bytes)) = (disturbance, saved) {
        assert_eq!((metadata.total_bytes(), metadata.global_step), (bytes, 2));
        assert_eq!(metadata.shards.len(), if order[1] == SEVERAL { 2 } else { 0 });
    }
    // Whatever it has left, the next save goes through; several files do not replace several.
    if metadata.shards.is_empty() || order[1] != SEVERAL {
        save(root, model, order[1], 3).unwrap_or_else(|error| panic!("{what}: {error}"));
        let again = Checkpoint::open(root.join("a.ckpt")).unwrap().verify().unwrap();
        assert_eq!(again.global_step, 3, "{what}");
    }
    disturbed.places()
}

#[test]
fn what_is_under_the_name_is_whole_at_each_moment() {
    let model: Linear = LinearConfig::new(2, 2).init(&backend::device());
    for order in [[Limits::READER, SEVERAL], [SEVERAL, Limits::READER]] {
        let home = in_memory();
        let places = disturbed(home.path(), &model, order, None);
        let mut count = 0;
        for place in &places {
            for fault in faults_at(place, SEED) {
                let home = in_memory();
                disturbed(home.path(), &model, order, Some((place, fault)));
                count += 1;
            }
        }
        println!("{} operations, {count} faults", places.len());
        assert!(count > 30);
    }
}
