//! A mirror that is newer than the disk: its best and last count, and what is on disk stays until all has
//! arrived.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_trainer::Error;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{HookedStore, delete_objects, give_store, unreachable};
use system_tests::programs::commands::sha256sum;
use system_tests::run_files::{checkpoints, files, run_dir};
use system_tests::train;

use super::{assert_same, in_mirror, lose_disk, memory_store, mirrored, unmirrored};

/// Whether an object is the content of a checkpoint.
fn is_content(path: &str) -> bool {
    (path.contains("/last/") || path.contains("/best/")) && path.ends_with(".ckpt")
}

pub fn copy_run(root: &Path, copy: &Path) {
    assert!(Command::new("cp").arg("-a").args([root, copy]).status().unwrap().success());
}

#[test]
fn best_and_last_are_those_of_the_newer_side() {
    for wanted in ["last", "best"] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, root, copy] = ["whole", "root", "copy"].map(|name| directory.path().join(name));
        let address = &format!("memory:newer-{wanted}");
        let _store = memory_store(address);
        train(unmirrored(&whole, 3)).unwrap();
        train(mirrored(&root, 1, address)).unwrap();
        copy_run(&root, &copy);
        train(mirrored(&root, 2, address)).unwrap();
        // The links of the copy name states of the first epoch.
        let resumed = train(mirrored(&copy, 3, address).with_ckpt_path(wanted)).unwrap();
        let from = resumed.resumed_from.unwrap();
        assert!(from.ends_with("epoch=1-step=20.ckpt"), "{wanted}: {from:?}");
        assert_same(&whole, &copy, 2..=2);
    }
}

#[test]
fn a_newer_state_of_the_same_name_replaces_the_one_on_disk_once_it_has_arrived() {
    let directory = tempfile::tempdir().unwrap();
    let [root, other] = ["root", "other"].map(|name| directory.path().join(name));
    let address = "memory:same-name";
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let cut_off = Arc::clone(&is_cut_off);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        match operation.name == "get" && is_content(operation.path) && cut_off.load(Ordering::SeqCst) {
            true => Err(unreachable()),
            false => Ok(()),
        }
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    // Two machines: the second resumes a copy, and its states have the names of the first one's.
    train(unmirrored(&root, 1)).unwrap();
    copy_run(&root, &other);
    train(unmirrored(&root, 2)).unwrap();
    train(mirrored(&other, 2, address)).unwrap();
    let last = checkpoints(&root).join("last/epoch=1-step=20.ckpt");
    let before = sha256sum(&last).unwrap();
    assert_ne!(before, sha256sum(&checkpoints(&other).join("last/epoch=1-step=20.ckpt")).unwrap());

    is_cut_off.store(true, Ordering::SeqCst);
    let error = train(mirrored(&root, 3, address)).unwrap_err();
    assert!(matches!(error, Error::MirrorNotDownloaded { .. }), "{error:?}");
    assert_eq!(sha256sum(&last).unwrap(), before, "what is on disk stays");

    is_cut_off.store(false, Ordering::SeqCst);
    let resumed = train(mirrored(&root, 3, address)).unwrap();
    assert_eq!(resumed.global_step, 30);
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
    assert!(in_mirror(address).iter().any(|name| name.contains("step=30")));
}

#[test]
fn the_log_and_the_links_on_disk_stay_until_the_newer_ones_have_arrived() {
    for unreachable_part in ["/metrics/", "/epoch=1-step=20.ckpt"] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, root, copy] = ["whole", "root", "copy"].map(|name| directory.path().join(name));
        let address = &format!("memory:stays{}", unreachable_part.replace('/', "-"));
        let is_cut_off = Arc::new(AtomicBool::new(false));
        let cut_off = Arc::clone(&is_cut_off);
        let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
            let is_part = operation.path.contains(unreachable_part) && !operation.path.ends_with(".json");
            match operation.name == "get" && is_part && cut_off.load(Ordering::SeqCst) {
                true => Err(unreachable()),
                false => Ok(()),
            }
        });
        give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
        train(unmirrored(&whole, 3)).unwrap();
        train(mirrored(&root, 1, address)).unwrap();
        copy_run(&root, &copy);
        train(mirrored(&root, 2, address)).unwrap();
        let on_disk = || {
            let log = fs::read(run_dir(&copy).join("metrics.jsonl")).unwrap();
            let mut links = files(&checkpoints(&copy));
            links.retain(|name| name.contains(" -> "));
            (String::from_utf8(log).unwrap(), links)
        };
        let before = on_disk();
        assert_eq!(before.1.len(), 4, "{before:?}");

        is_cut_off.store(true, Ordering::SeqCst);
        let error = train(mirrored(&copy, 3, address)).unwrap_err();
        assert!(matches!(error, Error::MirrorNotDownloaded { .. }), "{error:?}");
        assert!(on_disk() == before, "without {unreachable_part}: {:?}", files(&run_dir(&copy)));

        is_cut_off.store(false, Ordering::SeqCst);
        let resumed = train(mirrored(&copy, 3, address)).unwrap();
        assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
        assert_same(&whole, &copy, 2..=2);
    }
}

#[test]
fn nothing_begins_from_the_start_where_the_mirror_has_lost_the_content_of_its_checkpoints() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:lost-content";
    let store = memory_store(address);
    train(mirrored(root.path(), 1, address)).unwrap();
    // As a rule of the bucket may do that removes old objects.
    delete_objects(&*store, is_content);
    lose_disk(root.path());
    let error = train(mirrored(root.path(), 2, address)).unwrap_err();
    let Error::MirrorUnreadable { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), burn_ckpt::ErrorKind::Damaged, "{source:?}");
    assert!(!fs::exists(checkpoints(root.path())).unwrap(), "nothing is left of the failed start");
    train(mirrored(root.path(), 1, address).with_ckpt_path("none")).unwrap();
}
