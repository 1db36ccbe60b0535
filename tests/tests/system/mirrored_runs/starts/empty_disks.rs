//! A run whose disk is gone resumes from its mirror, to the bytes of a run that was never disturbed.

use burn_ckpt::Catalog;
use burn_trainer::burn_ckpt::RunLayout;
use burn_trainer::strategy::Best;
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
