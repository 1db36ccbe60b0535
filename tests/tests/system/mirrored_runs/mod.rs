//! Runs with a mirror: what is sent while they train, and what a start on an empty disk makes of it.

mod dead_stores;
mod evaluations;
mod killed_uploads;
mod parts_that_fail;
mod programs;
mod real_servers;
mod same_as_disk;
mod settings;
mod slow_stores;
mod starts;
mod two_writers;
mod wrong_addresses;

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::mirror::MirroredRun;
use burn_trainer::TrainerConfig;
use burn_trainer::config::MirrorConfig;
use burn_trainer::strategy::Last;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{connect, give_store};
use system_tests::run_files::{compare_after_loss, run_dir};

/// Of the tests' run in this process.
const STEPS_PER_EPOCH: u64 = 10;

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

/// Compares a run with an undisturbed one: all but burn's metric files of the epochs that were `lost` with
/// the disk, which are in no mirror.
fn assert_same(whole: &Path, root: &Path, lost: RangeInclusive<u64>) {
    let same = compare_after_loss(&run_dir(whole), &run_dir(root), lost);
    same.unwrap_or_else(|differences| panic!("{differences}"));
}

/// Burn's numbers of the epochs before a checkpoint, which are lost with an empty disk.
fn epochs_before(checkpoint: Option<&Path>) -> RangeInclusive<u64> {
    let step = checkpoint.map_or(0, |path| {
        let name = path.file_stem().unwrap().to_string_lossy();
        name.split_once("step=").unwrap().1.parse().unwrap()
    });
    1..=step / STEPS_PER_EPOCH
}

/// The disk is gone.
fn lose_disk(root: &Path) {
    fs::remove_dir_all(root.join("burn_trainer_logs")).unwrap();
}
