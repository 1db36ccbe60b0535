//! Checkpoints that are damaged on disk, and whole in the mirror: the newest whole one is resumed from,
//! whichever side it is on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn_ckpt::{Catalog, RunLayout};
use burn_trainer::strategy::Best;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, give_store};
use system_tests::run_files::{checkpoints, compare, run_dir};
use system_tests::{train, train_scored};

use super::{in_mirror, memory_store, mirrored, unmirrored};

/// The best is the first.
const SCORES: [f64; 3] = [1.0, 3.0, 2.0];

/// Changes a byte of each checkpoint of a step on disk.
fn damage(root: &Path, step: u64) {
    let catalog = Catalog::scan(&RunLayout::at(run_dir(root))).unwrap();
    let of_step = catalog.entries.iter().filter(|entry| entry.metadata.global_step == step);
    let mut count = 0;
    for entry in of_step {
        let mut bytes = fs::read(&entry.path).unwrap();
        let middle = bytes.len() / 2;
        // Two names can be one file.
        bytes[middle] = bytes[middle].wrapping_add(1);
        fs::write(&entry.path, bytes).unwrap();
        count += 1;
    }
    assert!(count > 0, "there is no checkpoint of step {step}");
}

#[test]
fn a_checkpoint_that_is_damaged_on_disk_comes_from_the_mirror() {
    for wanted in ["auto", "last", "best"] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
        let address = &format!("memory:damaged-disk-{wanted}");
        let _store = memory_store(address);
        train(unmirrored(&whole, 3)).unwrap();
        train(mirrored(&root, 2, address)).unwrap();
        damage(&root, 20);
        let resumed = train(mirrored(&root, 3, address).with_ckpt_path(wanted)).unwrap();
        let from = resumed.resumed_from.unwrap();
        assert!(from.ends_with("epoch=1-step=20.ckpt"), "{wanted}: {from:?}");
        compare(&run_dir(&whole), &run_dir(&root)).unwrap_or_else(|reason| panic!("{wanted}: {reason}"));
    }
}

#[test]
fn the_mirrors_older_one_counts_where_nothing_on_disk_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:damaged-newer";
    let _store = memory_store(address);
    train(mirrored(root.path(), 1, address)).unwrap();
    train(unmirrored(root.path(), 2)).unwrap();
    let catalog = Catalog::scan(&RunLayout::at(run_dir(root.path()))).unwrap();
    let mut steps: Vec<u64> = catalog.entries.iter().map(|entry| entry.metadata.global_step).collect();
    steps.dedup();
    steps.into_iter().for_each(|step| damage(root.path(), step));
    let resumed = train(mirrored(root.path(), 3, address)).unwrap();
    let from = resumed.resumed_from.unwrap();
    assert!(from.ends_with("epoch=0-step=10.ckpt"), "{from:?}");
    assert_eq!(resumed.global_step, 30);
}

#[test]
fn nothing_comes_from_the_mirror_where_the_newest_on_disk_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:whole-disk";
    let read = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&read);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_content = operation.name == "get" && operation.path.ends_with(".metadata.json");
        counted.fetch_add(u64::from(is_content), Ordering::SeqCst);
        Ok(())
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    train(mirrored(root.path(), 1, address)).unwrap();
    train(unmirrored(root.path(), 2)).unwrap();
    // The looks at what was sent.
    let before = read.load(Ordering::SeqCst);
    let resumed = train(mirrored(root.path(), 2, address)).unwrap();
    assert!(resumed.finished_before);
    let sent = resumed.mirror.unwrap().sent;
    assert!(read.load(Ordering::SeqCst) <= before + sent, "only looks at what is sent now");
}

#[test]
fn a_checkpoint_outside_of_the_run_that_is_whole_there_is_not_downloaded() {
    let directory = tempfile::tempdir().unwrap();
    let [root, outside] = ["root", "outside"].map(|name| directory.path().join(name));
    let address = "memory:whole-outside";
    let _store = memory_store(address);
    let start = |epochs| {
        let best = Best::new().with_dirpath(&outside);
        train_scored(
            mirrored(&root, epochs, address).with_primary_metric("val_score").with_best(best),
            &SCORES,
        )
    };
    start(2).unwrap();
    let best = outside.join("epoch=0-step=10.ckpt");
    assert!(best.exists() && in_mirror(address).contains(&"outside/epoch=0-step=10.ckpt".to_owned()));
    damage(&root, 20);
    // The mirror's newest is downloaded, and its link to the best leads to what is there.
    let resumed = start(3).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("checkpoint/last/epoch=1-step=20.ckpt"));
    assert!(best.exists() && !checkpoints(&root).join("outside").exists());
}
