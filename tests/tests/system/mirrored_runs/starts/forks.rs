//! A run that resumed from an older state than the mirror's newest: nothing of the newer history is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::LearnerModel;
use burn_ckpt::RunLayout;
use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Writer};
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, connect, give_store, unreachable};
use system_tests::programs::commands::{burn_ckpt, sha256sum, stdout};
use system_tests::run_files::{checkpoints, run_dir};
use system_tests::train;

use super::newer_mirrors::copy_run;
use super::{in_mirror, lose_disk, memory_store, mirrored, unmirrored};

fn opened(address: &str) -> MirroredRun {
    MirroredRun::open(&connect(&address.parse().unwrap()).unwrap(), "r1").unwrap()
}

/// The SHA-256 of each state in a mirror: those of the files, of which a state can have two names.
fn states(address: &str) -> BTreeMap<String, u64> {
    let run = opened(address);
    run.checkpoints().iter().map(|there| (there.sha256().to_owned(), there.global_step)).collect()
}

/// Whether each of these states is in the mirror, and can be downloaded as it was.
fn assert_kept(address: &str, before: &BTreeMap<String, u64>) {
    let (run, directory) = (opened(address), tempfile::tempdir().unwrap());
    for (sha256, step) in before {
        let there = run.checkpoints().iter().find(|there| there.sha256() == sha256);
        let there = there.unwrap_or_else(|| panic!("step {step} is lost: {:?}", in_mirror(address)));
        let got = directory.path().join(format!("{step}.ckpt"));
        run.download_over(there, &got, &|_| Ok(())).unwrap();
        let metadata = burn_ckpt::Checkpoint::open(&got).unwrap().verify().unwrap();
        assert_eq!((&metadata.checkpoint_checksum, metadata.global_step), (sha256, *step));
    }
}

fn forks(address: &str) -> Vec<String> {
    in_mirror(address).into_iter().filter(|name| name.starts_with("forks/")).collect()
}

/// A store that is dead while this is set, with a run of two starts, of which `copy` has the first one alone.
/// Returns the states of the second one.
fn fork(root: &Path, copy: &Path, address: &str) -> (Arc<AtomicBool>, BTreeMap<String, u64>) {
    let is_dead = Arc::new(AtomicBool::new(false));
    let dead = Arc::clone(&is_dead);
    let store = HookedStore::new(Arc::new(InMemory::new()), move |_| match dead.load(Ordering::SeqCst) {
        true => Err(unreachable()),
        false => Ok(()),
    });
    give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
    train(mirrored(root, 1, address)).unwrap();
    copy_run(root, copy);
    train(mirrored(root, 2, address)).unwrap();
    let mut newer = states(address);
    newer.retain(|_, step| *step > 10);
    assert!(!newer.is_empty());
    (is_dead, newer)
}

#[test]
fn what_a_start_could_not_read_stays_in_the_mirror_also_when_the_next_starts_can() {
    let directory = tempfile::tempdir().unwrap();
    let [root, copy] = ["root", "copy"].map(|name| directory.path().join(name));
    let address = "memory:fork-of-a-dead-start";
    let (is_dead, newer) = fork(&root, &copy, address);
    is_dead.store(true, Ordering::SeqCst);
    let mut config = mirrored(&copy, 3, address);
    config.mirror = config.mirror.map(|mirror| mirror.with_wait_at_end_seconds(0.0));
    let result = train(config).unwrap();
    assert!(result.resumed_from.unwrap().ends_with("epoch=0-step=10.ckpt") && result.global_step == 30);
    is_dead.store(false, Ordering::SeqCst);
    for epochs in [4, 5, 6] {
        let resumed = train(mirrored(&copy, epochs, address)).unwrap();
        // The disk's are newer: they were saved later.
        assert_eq!(resumed.global_step, 10 * epochs as u64);
        assert_kept(address, &newer);
        assert!(resumed.mirror.unwrap().unsent.is_empty());
    }
    // All of the other history, and nothing of this one.
    let of_forks: Vec<String> = forks(address);
    assert!(!of_forks.is_empty() && of_forks.iter().all(|name| name.starts_with("forks/2/")), "{of_forks:?}");
    // Another disk has the newest state of all.
    lose_disk(&copy);
    let resumed = train(mirrored(&copy, 7, address)).unwrap();
    assert!(resumed.resumed_from.unwrap().ends_with("epoch=5-step=60.ckpt"));
    assert_eq!(forks(address), of_forks);
}

#[test]
fn a_store_that_answers_while_the_run_trains_gets_its_saves_and_keeps_the_newer_states() {
    let directory = tempfile::tempdir().unwrap();
    let [root, copy] = ["root", "copy"].map(|name| directory.path().join(name));
    let address = "memory:fork-of-a-late-store";
    let (is_dead, newer) = fork(&root, &copy, address);
    is_dead.store(true, Ordering::SeqCst);
    let revive = Revive { is_dead };
    let result =
        train_by(mirrored(&copy, 3, address), Script::default(), |trainer| trainer.callback(revive)).unwrap();
    assert!(result.resumed_from.unwrap().ends_with("epoch=0-step=10.ckpt") && result.global_step == 30);
    assert!(result.mirror.unwrap().unsent.is_empty());
    assert_kept(address, &newer);
    let run = opened(address);
    assert_eq!(run.find("last").unwrap().name, "last/epoch=2-step=30.ckpt");
    assert_eq!(run.newest().unwrap().global_step, 30);
}

#[test]
fn evaluations_and_the_log_of_metrics_stay_with_the_states_of_another_history() {
    let directory = tempfile::tempdir().unwrap();
    let [root, copy] = ["root", "copy"].map(|name| directory.path().join(name));
    let address = "memory:fork-with-all";
    let (_, newer) = fork(&root, &copy, address);
    let newest_path = checkpoints(&root).join(&opened(address).newest().unwrap().name);
    let sha256 = sha256sum(&newest_path).unwrap();
    let text = format!("{{\"checkpoint_checksum\": \"sha256:{sha256}\", \"evaluations\": [0.5]}}\n");
    fs::write(format!("{}.evaluation.json", newest_path.display()), &text).unwrap();
    train(mirrored(&root, 2, address)).unwrap();
    let before = opened(address);
    let newest = before.newest().unwrap();
    let [log, same] = ["log", "same"].map(|name| directory.path().join(name));
    assert!(before.download_metrics_log(newest, &log, &|_| Ok(())).unwrap());
    train(unmirrored(&copy, 4)).unwrap();
    train(mirrored(&copy, 4, address)).unwrap();
    assert_kept(address, &newer);
    let run = opened(address);
    let fork = run.checkpoints().iter().rfind(|there| there.sha256() == newest.sha256()).unwrap();
    assert!(run.download_metrics_log(fork, &same, &|_| Ok(())).unwrap());
    assert!(fs::read(log).unwrap() == fs::read(same).unwrap());
    let got = run.download(fork, &RunLayout::at(directory.path().join("got")), &|_| Ok(())).unwrap();
    assert_eq!(fs::read_to_string(format!("{}.evaluation.json", got.display())).unwrap(), text);
}

#[test]
fn what_led_to_the_states_on_disk_is_deleted_as_always() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:no-fork";
    let _store = memory_store(address);
    for epochs in 1..4 {
        train(mirrored(root.path(), epochs, address)).unwrap();
    }
    // Another disk, and a resume from a state that is not the newest.
    lose_disk(root.path());
    train(mirrored(root.path(), 4, address)).unwrap();
    train(mirrored(root.path(), 5, address).with_ckpt_path("best")).unwrap();
    train(mirrored(root.path(), 6, address)).unwrap();
    assert_eq!(forks(address), [""; 0]);
    let last = in_mirror(address).into_iter().filter(|name| name.starts_with("last/")).count();
    assert_eq!(last, 1);
}

#[test]
fn prune_deletes_states_of_another_history_too() {
    let directory = tempfile::tempdir().unwrap();
    let [root, copy] = ["root", "copy"].map(|name| directory.path().join(name));
    let address = "memory:fork-pruned";
    let (_, newer) = fork(&root, &copy, address);
    train(unmirrored(&copy, 3)).unwrap();
    train(mirrored(&copy, 3, address)).unwrap();
    assert_kept(address, &newer);
    let store = connect(&address.parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    mirror.apply_retention(&MirrorKeep::last(1)).unwrap();
    mirror.close().unwrap();
    assert_eq!(forks(address), [""; 0]);
}

#[test]
fn sending_a_run_by_hand_keeps_the_states_of_another_history_and_says_so_once() {
    let directory = tempfile::tempdir().unwrap();
    let [root, copy, disk] = ["root", "copy", "disk"].map(|name| directory.path().join(name));
    let address = &format!("file://{}", disk.display());
    train(mirrored(&root, 1, address)).unwrap();
    copy_run(&root, &copy);
    train(mirrored(&root, 2, address)).unwrap();
    let newer = states(address);
    train(unmirrored(&copy, 2)).unwrap();
    for is_said in [true, false] {
        let output = burn_ckpt(&[&"mirror", &run_dir(&copy), address]);
        stdout(&output);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.contains("another history of the run than the disk's"), is_said, "{said}");
        assert_eq!(said.contains("forks/2/last/epoch=1-step=20.ckpt"), is_said, "{said}");
        assert_kept(address, &newer);
    }
}

/// The store answers again once training has begun.
struct Revive {
    is_dead: Arc<AtomicBool>,
}

impl<M: LearnerModel> Callback<M> for Revive {
    fn name(&self) -> String {
        "revive".to_owned()
    }

    fn on_fit_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.is_dead.store(false, Ordering::SeqCst);
        Ok(())
    }
}
