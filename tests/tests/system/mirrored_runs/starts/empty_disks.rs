//! A run whose disk is gone resumes from its mirror, to the bytes of a run that was never disturbed.

use burn_ckpt::Catalog;
use burn_trainer::Error;
use burn_trainer::burn_ckpt::RunLayout;
use burn_trainer::strategy::Best;
use system_tests::object_stores::delete_objects;
use system_tests::run_files::{leftovers, run_dir};
use system_tests::train;

use super::{assert_same, in_mirror, lose_disk, memory_store, mirrored, unmirrored};

#[test]
fn a_run_on_an_empty_disk_ends_as_one_that_was_never_disturbed() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root, disk] = ["whole", "root", "disk"].map(|name| directory.path().join(name));
    let address = &format!("file://{}", disk.display());
    train(unmirrored(&whole, 3)).unwrap();
    let first = train(mirrored(&root, 1, address)).unwrap();
    let sent = first.mirror.unwrap();
    assert!(sent.unsent.is_empty() && sent.failed == 0 && sent.sent >= 2, "{sent:?}");
    assert_eq!(in_mirror(address), ["best/epoch=0-step=10.ckpt", "last/epoch=0-step=10.ckpt"]);

    lose_disk(&root);
    let second = train(mirrored(&root, 3, address)).unwrap();
    assert!(second.resumed_from.unwrap().ends_with("epoch=0-step=10.ckpt"));
    assert_same(&whole, &root, 1..=1);
    assert!(leftovers(&run_dir(&root)).is_empty());

    // Another empty disk, after the end: everything is there, and nothing is left to train.
    lose_disk(&root);
    let third = train(mirrored(&root, 3, address)).unwrap();
    assert!(third.finished_before && third.global_step == 30);
}

#[test]
fn a_run_whose_metadata_objects_are_lost_resumes_on_an_empty_disk() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
    let address = "memory:no-metadata";
    let store = memory_store(address);
    train(unmirrored(&whole, 3)).unwrap();
    train(mirrored(&root, 2, address)).unwrap();
    lose_disk(&root);
    delete_objects(&*store, |name| name.ends_with(".metadata.json"));
    let resumed = train(mirrored(&root, 3, address)).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
    assert_same(&whole, &root, 1..=2);
}

#[test]
fn best_and_last_are_found_in_the_mirror() {
    for wanted in ["last", "best"] {
        let directory = tempfile::tempdir().unwrap();
        let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
        let address = &format!("memory:found-{wanted}");
        let _store = memory_store(address);
        train(unmirrored(&whole, 2)).unwrap();
        train(mirrored(&root, 1, address)).unwrap();
        lose_disk(&root);
        train(mirrored(&root, 2, address).with_ckpt_path(wanted)).unwrap();
        assert_same(&whole, &root, 1..=1);
    }
}

#[test]
fn a_process_that_does_not_write_does_not_begin_again_where_the_mirror_has_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let [root, disk] = ["root", "disk"].map(|name| directory.path().join(name));
    let address = &format!("file://{}", disk.display());
    let of_rank_1 = |epochs: usize, wanted: &str| {
        train(mirrored(&root, epochs, address).with_rank(1).with_ckpt_path(wanted))
    };
    // Where nothing is, it begins as the process of rank 0 does.
    std::fs::create_dir(&disk).unwrap();
    assert_eq!(of_rank_1(1, "auto").unwrap().global_step, 10);
    train(mirrored(&root, 1, address).with_rank(0)).unwrap();
    lose_disk(&root);
    for wanted in ["auto", "last", "best"] {
        let error = of_rank_1(2, wanted).map(|_| ()).unwrap_err();
        let Error::Config { setting, reason } = &error else { panic!("{wanted}: {error}") };
        assert!(setting == "mirror" && reason.contains("only the process of rank 0 downloads"), "{error}");
    }
    assert!(of_rank_1(1, "none").unwrap().resumed_from.is_none());
    // That one has downloaded it, and trained on.
    train(mirrored(&root, 2, address).with_rank(0)).unwrap();
    let resumed = of_rank_1(3, "auto").unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
    assert_eq!(resumed.global_step, 30);
}

#[test]
fn the_list_of_the_best_is_that_of_the_state_that_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root] = ["whole", "root"].map(|name| directory.path().join(name));
    let address = "memory:best-list";
    let _store = memory_store(address);
    let best = Best::new().with_topk(2);
    train(unmirrored(&whole, 5).with_best(best.clone())).unwrap();
    train(mirrored(&root, 3, address).with_best(best.clone())).unwrap();
    lose_disk(&root);
    train(mirrored(&root, 5, address).with_best(best)).unwrap();
    assert_same(&whole, &root, 1..=3);
}

#[test]
fn the_side_with_the_newer_checkpoint_counts() {
    let directory = tempfile::tempdir().unwrap();
    let [whole, root, copy] = ["whole", "root", "copy"].map(|name| directory.path().join(name));
    let address = "memory:newer";
    let _store = memory_store(address);
    train(unmirrored(&whole, 3)).unwrap();
    train(mirrored(&root, 1, address)).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").args([&root, &copy]).status().unwrap();
    assert!(copied.success());
    // The mirror becomes newer than the copy.
    train(mirrored(&root, 2, address)).unwrap();
    let resumed = train(mirrored(&copy, 3, address)).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=1-step=20.ckpt"));
    assert_same(&whole, &copy, 2..=2);
    // And here the disk is newer.
    train(unmirrored(&root, 3)).unwrap();
    let resumed = train(mirrored(&root, 3, address)).unwrap();
    assert!(resumed.finished_before);
    let newest = Catalog::scan(&RunLayout::at(run_dir(&root))).unwrap().entries.pop().unwrap();
    assert_eq!(newest.metadata.global_step, 30);
    assert!(in_mirror(address).iter().any(|name| name.contains("step=30")), "what was missing is sent");
}
