//! The trainer is killed at each operation of the store, and its disk is gone: a start elsewhere resumes from
//! what is whole in the mirror, and ends as a run that was never disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn_ckpt::mirror::{MirroredRun, Writer};
use burn_trainer::{Error, TrainerConfig};
use jiff::SignedDuration;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, connect, give_store, unreachable};
use system_tests::run_files::{in_memory, leftovers, run_dir};
use system_tests::train;

use super::{assert_same, epochs_before, in_mirror, lose_disk, mirrored, unmirrored};

/// How many of the operations are tried. With `STORAGE_FAULTS=all` each is.
const SAMPLE: u64 = 12;

/// A store that the process reaches for so many operations, and then never again: for the store that is a
/// process which was killed.
fn store_for(inner: &Arc<InMemory>, address: &str, operations: u64) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let done = Arc::clone(&count);
    let store = HookedStore::new(Arc::clone(inner) as Arc<dyn ObjectStore>, move |_| {
        match done.fetch_add(1, Ordering::SeqCst) < operations {
            true => Ok(()),
            false => Err(unreachable()),
        }
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    count
}

/// A run that does not wait for a store which is gone.
fn impatient(mut config: TrainerConfig) -> TrainerConfig {
    config.mirror = config.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    config
}

/// The lease of a process that is gone ends: another writer takes it once its time is over, and gives it
/// back.
fn end_lease(address: &str) {
    let store = connect(&address.parse().unwrap()).unwrap();
    let later = || jiff::Timestamp::now() + SignedDuration::from_hours(1);
    let writer = Writer::new("the clock", 1, later);
    burn_ckpt::mirror::RunMirror::open(&store, "r1", &writer).unwrap().close().unwrap();
}

#[test]
fn after_a_kill_at_any_operation_an_empty_disk_resumes_to_the_same_bytes() {
    let directory = in_memory();
    let whole = directory.path().join("whole");
    train(unmirrored(&whole, 3)).unwrap();
    let address = "memory:killed";
    // How many operations there are.
    let root = directory.path().join("counted");
    let operations = store_for(&Arc::new(InMemory::new()), address, u64::MAX);
    train(mirrored(&root, 2, address)).unwrap();
    let all = operations.load(Ordering::SeqCst);
    assert!(all > SAMPLE, "{all}");
    let is_whole = std::env::var("STORAGE_FAULTS").is_ok_and(|which| which == "all");
    let step = if is_whole { 1 } else { all / SAMPLE };
    let mut resumed = 0;
    for operation in (0..all).step_by(usize::try_from(step).unwrap()) {
        let root = directory.path().join(format!("killed-{operation}"));
        let inner = Arc::new(InMemory::new());
        store_for(&inner, address, operation);
        let first = train(impatient(mirrored(&root, 2, address).with_ckpt_path("none"))).unwrap();
        assert_eq!(first.global_step, 20, "a store that is gone does not end training");
        lose_disk(&root);
        store_for(&inner, address, u64::MAX);
        end_lease(address);
        let there = in_mirror(address);
        let second = train(mirrored(&root, 3, address)).unwrap();
        assert_eq!(second.resumed_from.is_some(), !there.is_empty(), "{operation}: {there:?}");
        resumed += u64::from(second.resumed_from.is_some());
        assert_same(&whole, &root, epochs_before(second.resumed_from.as_deref()));
        assert!(leftovers(&run_dir(&root)).is_empty(), "{operation}");
        std::fs::remove_dir_all(&root).unwrap();
    }
    assert!(resumed > SAMPLE / 2, "{resumed}");
}

#[test]
fn a_checkpoint_that_is_damaged_in_the_mirror_is_left_out_and_the_one_before_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root, disk] = ["whole", "root", "disk"].map(|name| directory.path().join(name));
    let address = &format!("file://{}", disk.display());
    train(unmirrored(&whole, 3)).unwrap();
    let mut config = mirrored(&root, 2, address);
    config.mirror = config.mirror.map(|mirror| mirror.with_keep_last(3));
    train(config).unwrap();
    lose_disk(&root);
    // The newest ones: the state at the end of the second epoch, under each name.
    let store = connect(&address.parse().unwrap()).unwrap();
    let run = MirroredRun::open(&store, "r1").unwrap();
    let newest = run.checkpoints().iter().filter(|checkpoint| checkpoint.global_step == 20);
    let files = newest.flat_map(|checkpoint| &checkpoint.files).filter(|file| file.name.ends_with(".ckpt"));
    // Two names have one object.
    for object in files.map(|file| &file.object).collect::<std::collections::BTreeSet<_>>() {
        let path = disk.join("r1/checkpoint").join(object);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let resumed = train(mirrored(&root, 3, address)).unwrap();
    let from = resumed.resumed_from.unwrap();
    assert!(!from.display().to_string().contains("step=20"), "{}", from.display());
    let found = system_tests::run_files::last_metadata(&root);
    assert_eq!(found.tensors, system_tests::run_files::last_metadata(&whole).tensors);
}

#[test]
fn a_mirror_in_which_all_is_damaged_is_an_error_and_not_a_start_from_the_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk] = ["root", "disk"].map(|name| directory.path().join(name));
    let address = &format!("file://{}", disk.display());
    train(mirrored(&root, 1, address)).unwrap();
    lose_disk(&root);
    for entry in std::fs::read_dir(disk.join("r1/checkpoint/best")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ckpt") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[9] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = train(mirrored(&root, 2, address)).unwrap_err();
    let Error::MirrorUnreadable { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), burn_ckpt::ErrorKind::Damaged, "{source:?}");
}
