//! Objects of a mirror that have other bytes than were sent.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn_ckpt::mirror::MirroredRun;
use burn_trainer::strategy::Last;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, connect, damage_objects, give_store};
use system_tests::programs::test_alone::said_alone;
use system_tests::train_scored;

use super::{lose_disk, mirrored};

/// The directory of the run, for the test in a process of its own.
const ROOT: &str = "TEST_DAMAGED_MIRROR";
/// The object of the second start's state. Its writer is the mirror's second one.
const NEWEST: &str = "epoch=1-step=20.ckpt.upload-2";

#[test]
fn a_damaged_object_of_two_names_is_downloaded_and_said_once() {
    let test = "a_damaged_object_of_two_names_is_downloaded_and_said_once";
    let Some(root) = std::env::var_os(ROOT) else {
        let root = tempfile::tempdir().unwrap();
        let said = said_alone(module_path!(), test, ROOT, root.path());
        let left_out: Vec<&str> = said.lines().filter(|line| line.contains("is left out")).collect();
        assert!(left_out.len() == 1 && left_out[0].contains("epoch=1-step=20.ckpt"), "{said}");
        return;
    };
    let (root, address) = (Path::new(&root), "memory:damaged-mirror");
    let objects = Arc::new(InMemory::new());
    let read = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&read);
    let store = HookedStore::new(Arc::clone(&objects) as Arc<dyn ObjectStore>, move |operation| {
        let is_newest = operation.name == "get" && operation.path.ends_with(NEWEST);
        counted.fetch_add(u64::from(is_newest), Ordering::SeqCst);
        Ok(())
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    let start = |epochs, score| {
        let config = mirrored(root, epochs, address).with_last(Last::new().with_topk(2));
        train_scored(config.with_primary_metric("val_score"), &[score])
    };
    // One by one: the end of each waits for its newest.
    start(1, 3.0).unwrap();
    start(2, 2.0).unwrap();
    let run = MirroredRun::open(&connect(&address.parse().unwrap()).unwrap(), "r1").unwrap();
    let newest = run.newest().unwrap().sha256();
    let names = run.checkpoints().iter().filter(|checkpoint| checkpoint.sha256() == newest).count();
    assert_eq!(names, 2, "the newest is the best");
    damage_objects(&*objects, |name| name.ends_with(NEWEST));
    lose_disk(root);
    read.store(0, Ordering::SeqCst);
    let resumed = start(3, 1.0).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=0-step=10.ckpt"));
    assert_eq!(read.load(Ordering::SeqCst), 1);
}
