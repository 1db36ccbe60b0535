//! What is left of checkpoints in a mirror: that of killed writers is deleted once it is old, and that of
//! checkpoints which have lost an object stays.

use std::fs;
use std::sync::Arc;

use burn_ckpt::mirror::{MirroredRun, RunMirror, Store, Writer};
use jiff::SignedDuration;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::object_stores::{FaultRates, SimulatedStore, delete_objects, objects, rewrite_objects};

use super::{PART_BYTES, address, observer, run_in, save, time, writer};

fn open(objects: &SimulatedStore, token: u64) -> RunMirror {
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    RunMirror::open(&store, "r1", &writer(objects, "w", token)).unwrap()
}

#[test]
fn leftovers_of_a_killed_writer_are_removed_once_they_are_old() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let path = save(&run, "last/step=1.ckpt", 1, time(1), 1, true);
    let killed = objects.client(Some(14), None);
    let store = Store::with_objects(&address(), killed, PART_BYTES).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &writer(&objects, "killed", 1)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap_err();
    objects.pass(SignedDuration::from_mins(10));
    let mut mirror = open(&objects, 2);
    let day = SignedDuration::from_hours(24);
    assert_eq!(
        mirror.remove_leftovers(day).unwrap().objects,
        0,
        "they can be those of a writer that is slow"
    );
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    objects.pass(SignedDuration::from_hours(25));
    let removed = open(&objects, 3).remove_leftovers(day).unwrap();
    assert!(removed.objects > 0 && removed.checkpoints.is_empty());
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let got = root.path().join("got.ckpt");
    mirrored.download_to(mirrored.newest().unwrap(), &got, &|_| Ok(())).unwrap();
    assert_eq!(fs::read(got).unwrap(), fs::read(path).unwrap());
}

/// What becomes of the checkpoint of a step: it loses an object, or one has another size.
const DAMAGES: [fn(&dyn ObjectStore, u64); 2] = [lose_a_shard, change_a_size];

fn lose_a_shard(disk: &dyn ObjectStore, step: u64) {
    delete_objects(disk, |name| name.contains(&format!("/step={step}.shards/state-00001-of-")));
}

fn change_a_size(disk: &dyn ObjectStore, step: u64) {
    let is_metadata = |name: &str| name.ends_with(&format!("/step={step}.ckpt.metadata.json"));
    rewrite_objects(disk, is_metadata, |text| format!("{text} "));
}

/// Sends two checkpoints with evaluations beside them, and damages that of step 2. The damage is there before
/// the next writer begins, or while the first one works. Returns what `remove_leftovers` deletes.
fn what_is_removed(damage: impl Fn(&dyn ObjectStore), is_seen_at_start: bool) -> (u64, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let (run, disk) = (run_in(root.path()), Arc::new(InMemory::new()));
    let store =
        Store::with_objects(&address(), Arc::clone(&disk) as Arc<dyn ObjectStore>, PART_BYTES).unwrap();
    let open = || RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    let mut mirror = open();
    // The log is cut in between: the checkpoint of step 2 alone needs the first piece.
    for step in [2, 1] {
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time(step.cast_signed()), step, true);
        let sha256 = burn_ckpt::Checkpoint::open(&path).unwrap().metadata().unwrap().checkpoint_checksum;
        let text = format!("{{\"checkpoint_checksum\": \"{sha256}\", \"evaluations\": [0.5]}}\n");
        fs::write(format!("{}.evaluation.json", path.display()), text).unwrap();
        mirror.send(&run, &path, &|_| Ok(())).unwrap();
        fs::write(run.run_dir().join("metrics.jsonl"), "").unwrap();
    }
    if is_seen_at_start {
        mirror.close().unwrap();
        damage(&*disk);
        mirror = open();
    } else {
        damage(&*disk);
        assert_eq!(mirror.look_again().unwrap(), ["last/step=2.ckpt"]);
    }
    let before: Vec<String> = objects(&*disk).into_iter().map(|(name, _)| name).collect();
    let removed = mirror.remove_leftovers(SignedDuration::from_secs(-3600)).unwrap().objects;
    let after: Vec<String> = objects(&*disk).into_iter().map(|(name, _)| name).collect();
    let missing = before.into_iter().filter(|name| !after.contains(name)).collect();
    (removed, missing)
}

#[test]
fn what_is_left_of_a_checkpoint_that_has_lost_an_object_is_not_a_leftover() {
    for is_seen_at_start in [true, false] {
        for damage in DAMAGES {
            let removed = what_is_removed(|disk| damage(disk, 2), is_seen_at_start);
            assert_eq!(removed, (0, Vec::new()), "{is_seen_at_start}");
        }
    }
}

#[test]
fn a_checkpoint_that_has_lost_an_object_is_sent_again_by_the_writer_that_finds_out() {
    for damage in DAMAGES {
        let root = tempfile::tempdir().unwrap();
        let (run, disk) = (run_in(root.path()), Arc::new(InMemory::new()));
        let store =
            Store::with_objects(&address(), Arc::clone(&disk) as Arc<dyn ObjectStore>, PART_BYTES).unwrap();
        let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
        let path = save(&run, "last/step=1.ckpt", 1, time(1), 1, true);
        mirror.send(&run, &path, &|_| Ok(())).unwrap();
        damage(&*disk, 1);
        assert_eq!(mirror.look_again().unwrap(), ["last/step=1.ckpt"]);
        assert!(!mirror.send(&run, &path, &|_| Ok(())).unwrap().was_there);
        let mirrored = MirroredRun::open(&store, "r1").unwrap();
        assert!(mirrored.broken().is_empty(), "{:?}", mirrored.broken());
        let got = root.path().join("got.ckpt");
        mirrored.download_to(mirrored.newest().unwrap(), &got, &|_| Ok(())).unwrap();
    }
}

#[test]
fn what_is_left_of_a_checkpoint_without_its_commit_object_is_a_leftover() {
    let is_commit = |name: &str| name.ends_with("/step=2.ckpt.commit.json");
    for is_seen_at_start in [true, false] {
        let (removed, missing) = what_is_removed(|disk| delete_objects(disk, is_commit), is_seen_at_start);
        assert!(removed > 5, "{missing:?}");
        let is_of_it = |name: &String| name.contains("/step=2.") || name.contains("/metrics/");
        assert!(missing.iter().all(is_of_it), "{missing:?}");
    }
}
