//! Runs with a mirror: what is sent while they train, and what a start on an empty disk makes of it.

mod dead_stores;
mod empty_disks;
mod killed_uploads;
mod new_runs;
mod programs;
mod real_server;
mod settings;
mod slow_stores;
mod two_writers;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::mirror::MirroredRun;
use burn_trainer::TrainerConfig;
use burn_trainer::config::MirrorConfig;
use burn_trainer::strategy::Last;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{connect, give_store};
use system_tests::run_files::{compare, run_dir};

/// A new store in memory at an address of its own.
fn memory_store(address: &str) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    give_store(address, Arc::clone(&store) as Arc<dyn ObjectStore>);
    store
}

/// A mirror whose lease ends soon after its holder's death.
fn mirror(address: &str) -> MirrorConfig {
    MirrorConfig::new(address).with_lease_timeout_seconds(1)
}

/// The run `r1` with a save every four steps, which resumes.
fn mirrored(root: &Path, epochs: usize, address: &str) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(4);
    let config = system_tests::config(root, epochs).with_last(last).with_ckpt_path("auto");
    config.with_mirror(mirror(address))
}

/// The same without the mirror.
fn unmirrored(root: &Path, epochs: usize) -> TrainerConfig {
    let mut config = mirrored(root, epochs, "memory:none");
    config.mirror = None;
    config
}

/// The names of the whole checkpoints in a mirror, oldest first.
fn in_mirror(address: &str) -> Vec<String> {
    let store = connect(&address.parse().unwrap()).unwrap();
    let run = MirroredRun::open(&store, "r1").unwrap();
    assert!(run.broken().is_empty(), "{:?}", run.broken());
    run.checkpoints().iter().map(|checkpoint| checkpoint.name.clone()).collect()
}

/// Compares a run with an undisturbed one: all but burn's metric files of epochs before the disk was lost,
/// which are in no mirror.
fn assert_same(whole: &Path, root: &Path) {
    let differences = compare(&run_dir(whole), &run_dir(root)).err().unwrap_or_default();
    let is_not_sent = |line: &&str| {
        let is_burns = line.starts_with("train/epoch-") || line.starts_with("valid/epoch-");
        is_burns && line.ends_with(".log is missing")
    };
    let differences: Vec<&str> = differences.lines().filter(|line| !is_not_sent(line)).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The disk is gone.
fn lose_disk(root: &Path) {
    fs::remove_dir_all(root.join("burn_trainer_logs")).unwrap();
}
