//! A directory as a store, checkpoints that are not sent, and a download in the place of another state.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};

use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::plumbing::storage::observer::observe;
use burn_ckpt::{Catalog, Checkpoint, Error};
use jiff::{SignedDuration, Timestamp};
use system_tests::object_stores::{FaultRates, SimulatedStore};
use system_tests::storage_faults::{FailingOperation, Fault, Place};

use super::{PART_BYTES, address, files_of, observer, run_in, save, writer};

#[test]
fn a_directory_on_another_disk_is_a_store() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let (one, two) = (Timestamp::constant(1_800_000_000, 0), Timestamp::constant(1_800_000_100, 0));
    let first = save(&run, "last/step=1.ckpt", 1, one, 1, false);
    let second = save(&run, "best/größe=1 #2.ckpt", 2, two, 2, true);
    std::os::unix::fs::symlink("best/größe=1 #2.ckpt", run.checkpoint_dir().join("best_val_loss.ckpt"))
        .unwrap();
    let address = format!("file://{}/disk/mirror", root.path().display());
    let store = Store::connect(&address.parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    for path in [&first, &second] {
        assert!(!mirror.send(&run, path, &|_| Ok(())).unwrap().was_there);
        assert!(mirror.send(&run, path, &|_| Ok(())).unwrap().was_there);
    }
    mirror.send_links(&run).unwrap();
    // The names are those on disk.
    let there = root.path().join("disk/mirror/r1/checkpoint/best/größe=1 #2.ckpt");
    assert_eq!(fs::read(there).unwrap(), fs::read(&second).unwrap());

    // A second writer, while the first one is there, and once its lease is over.
    let other = Writer::new("another", 7, Timestamp::now);
    let error = RunMirror::open(&store, "r1", &other).unwrap_err();
    assert!(matches!(error, Error::MirrorInUse { .. }), "{error:?}");
    let later = Writer::new("another", 7, || Timestamp::now() + SignedDuration::from_mins(6));
    let mut second_writer = RunMirror::open(&store, "r1", &later).unwrap();

    let mirrored = MirroredRun::open(&store, "r1").unwrap();
    assert_eq!(mirrored.find("best").unwrap().name, "best/größe=1 #2.ckpt");
    assert_eq!(store.runs().unwrap(), ["r1"]);
    let place = root.path().join("got/x.ckpt");
    mirrored.download_to(mirrored.newest().unwrap(), &place, &|_| Ok(())).unwrap();
    let bytes = |files: Vec<(String, Vec<u8>)>| files.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    let (got, sent) = (bytes(files_of(&place)), bytes(files_of(&second)));
    assert_eq!(got[..got.len() - 1], sent[..sent.len() - 1]);
    Checkpoint::open(&place).unwrap().verify().unwrap();

    let removed = second_writer.apply_retention(&MirrorKeep::last(1)).unwrap();
    assert_eq!(removed.checkpoints, ["last/step=1.ckpt"]);
    let left = MirroredRun::open(&store, "r1").unwrap();
    assert_eq!(left.checkpoints().len(), 1);
    assert!(!root.path().join("disk/mirror/r1/checkpoint/last/step=1.ckpt").exists());
}

#[test]
fn a_checkpoint_that_has_other_bytes_than_its_metadata_says_is_not_sent() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::now(), 1, false);
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = Store::connect(&format!("file://{}/mirror", root.path().display()).parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    let error = mirror.send(&run, &path, &|_| Ok(())).unwrap_err();
    assert!(matches!(&error, Error::Checksum { path: named, .. } if *named == path), "{error:?}");
    assert!(MirroredRun::open(&store, "r1").unwrap().checkpoints().is_empty());
}

#[test]
fn an_upload_that_its_caller_ends_leaves_no_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::now(), 1, true);
    let store = Store::connect(&"memory:ended".parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    let error = mirror.send(&run, &path, &|_| Err(std::io::Error::other("stopped"))).unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.to_string() == "stopped"), "{error:?}");
    assert!(MirroredRun::open(&store, "r1").unwrap().newest().is_none());
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    assert!(MirroredRun::open(&store, "r1").unwrap().newest().is_some());
}

#[test]
fn files_of_killed_uploads_are_removed_once_they_are_old() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/a#1.ckpt", 1, Timestamp::now(), 1, true);
    let store = Store::connect(&format!("file://{}/mirror", root.path().display()).parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    let directory = root.path().join("mirror/r1/checkpoint/last");
    let before = std::time::SystemTime::now() - std::time::Duration::from_hours(2);
    for (name, is_old) in [("b.ckpt#1", true), ("c.ckpt#12", true), ("d.ckpt#1", false), ("e.ckpt#x", true)] {
        let file = fs::File::create(directory.join(name)).unwrap();
        std::io::Write::write_all(&mut &file, b"part").unwrap();
        if is_old {
            file.set_modified(before).unwrap();
        }
    }
    let removed = mirror.remove_leftovers(SignedDuration::from_hours(1)).unwrap();
    assert_eq!((removed.objects, removed.bytes), (2, 8));
    for (name, is_there) in [
        ("a#1.ckpt", true),
        ("b.ckpt#1", false),
        ("c.ckpt#12", false),
        ("d.ckpt#1", true),
        ("e.ckpt#x", true),
    ] {
        assert_eq!(directory.join(name).exists(), is_there, "{name}");
    }
    assert_eq!(MirroredRun::open(&store, "r1").unwrap().checkpoints().len(), 1);
}

/// A clock that is an hour later at each look.
fn fast_clock() -> impl Fn() -> Timestamp + Send + Sync {
    let hours = AtomicI64::new(0);
    move || {
        Timestamp::constant(1_800_000_000, 0)
            + SignedDuration::from_hours(hours.fetch_add(1, Ordering::SeqCst))
    }
}

#[test]
fn runs_in_one_directory_renew_their_leases_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    let address = format!("file://{}/mirror", root.path().display()).parse().unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let store = Store::connect(&address).unwrap();
            scope.spawn(move || {
                let writer = Writer::new("one of four", number, fast_clock());
                let mut mirror = RunMirror::open(&store, &format!("r{number}"), &writer).unwrap();
                for _ in 0..100 {
                    mirror.keep_lease().unwrap();
                }
                mirror.close().unwrap();
            });
        }
    });
}

#[test]
fn a_lock_that_another_process_has_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::connect(&format!("file://{}/mirror", root.path().display()).parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::new("one", 1, fast_clock())).unwrap();
    mirror.keep_lease().unwrap();
    let lock = fs::File::options().write(true).open(root.path().join("mirror/r1/.mirror.lock")).unwrap();
    lock.lock().unwrap();
    let (begins, has_begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let renewed = scope.spawn(move || {
            begins.send(()).unwrap();
            mirror.keep_lease()
        });
        has_begun.recv().unwrap();
        // The other process takes a moment.
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!renewed.is_finished(), "the lease is renewed under the lock");
        lock.unlock().unwrap();
        renewed.join().unwrap().unwrap();
    });
}

#[test]
fn a_lock_that_cannot_be_opened_is_named_and_is_an_error_of_the_store() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, Timestamp::now(), 1, false);
    let store = Store::connect(&format!("file://{}/mirror", root.path().display()).parse().unwrap()).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::new("one", 1, fast_clock())).unwrap();
    let lock = root.path().join("mirror/r1/.mirror.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let error = mirror.send(&run, &path, &|_| Ok(())).unwrap_err();
    let Error::Mirror { object, reason, .. } = &error else { panic!("{error:?}") };
    assert!(object.ends_with("mirror/r1/lease.json"), "{error}");
    assert!(reason.contains(lock.to_str().unwrap()), "{error}");
    fs::remove_dir(&lock).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
}

/// Downloads a state of step 2 into a directory that has one of step 1 under the same name, in which the
/// process ends before an operation. Returns the operations.
fn download_over_another(is_in_files: [bool; 2], ends_before: Option<&Place>) -> Vec<Place> {
    const NAME: &str = "last/a.ckpt";
    let root = tempfile::tempdir().unwrap();
    let [theirs, run] = ["theirs", "run"].map(|name| run_in(&root.path().join(name)));
    let [first, second] = [1, 2].map(|second| Timestamp::new(1_800_000_000 + second, 0).unwrap());
    let objects = SimulatedStore::new(1, FaultRates::default());
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &writer(&objects, "w", 1)).unwrap();
    let sent = save(&theirs, NAME, 2, second, 2, is_in_files[1]);
    mirror.send(&theirs, &sent, &|_| Ok(())).unwrap();
    let place = save(&run, NAME, 1, first, 1, is_in_files[0]);
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let download = || mirrored.download(mirrored.newest().unwrap(), &run, &|_| Ok(()));
    let directory = run.run_dir();
    let failing = match ends_before {
        Some(place) => FailingOperation::at(directory, place.clone(), Fault::EndsBefore),
        None => FailingOperation::noting(directory),
    };
    let failing = std::sync::Arc::new(failing);
    let observation = observe(directory, failing.clone());
    let downloaded = download();
    drop(observation);
    if failing.has_ended() {
        let whole = |path: &std::path::Path| Checkpoint::open(path).and_then(|found| found.verify());
        let there = Catalog::scan(&run).unwrap().entries;
        let whole: Vec<u64> =
            there.iter().filter_map(|found| whole(&found.path).ok()).map(|found| found.global_step).collect();
        assert!(!whole.is_empty(), "{is_in_files:?}: no state is left before {ends_before:?}");
        download().unwrap();
    } else {
        downloaded.unwrap();
    }
    assert_eq!(files_of(&place), files_of(&sent), "{is_in_files:?} {ends_before:?}");
    let there = Catalog::scan(&run).unwrap();
    assert!(there.broken.is_empty(), "{is_in_files:?} {ends_before:?}: {:?}", there.broken);
    assert_eq!(there.entries.len(), 1, "{is_in_files:?} {ends_before:?}");
    failing.places()
}

#[test]
fn a_download_that_is_killed_anywhere_leaves_a_state_under_the_name_that_it_replaces() {
    for is_in_files in [[false, false], [false, true], [true, false], [true, true]] {
        let changes = ["create", "reserve", "write", "sync", "hard link", "rename", "remove"];
        let is_change = |place: &&Place| changes.iter().any(|name| place.operation.starts_with(name));
        let places = download_over_another(is_in_files, None);
        let places: Vec<&Place> = places.iter().filter(is_change).collect();
        assert!(places.iter().any(|place| place.path.ends_with("a.ckpt")), "{places:?}");
        for place in places {
            download_over_another(is_in_files, Some(place));
        }
    }
}
