//! Evaluations that are kept beside a checkpoint: they are sent with it or after it, come with it, and are
//! deleted with it.

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store};
use burn_ckpt::{Checkpoint, Error};
use jiff::SignedDuration;
use system_tests::object_stores::{FaultRates, SimulatedStore, objects};

use super::{PART_BYTES, address, observer, of_one_name_outside, run_in, save, time, writer};

fn open(objects: &SimulatedStore, token: u64) -> RunMirror {
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    RunMirror::open(&store, "r1", &writer(objects, "w", token)).unwrap()
}

fn beside(checkpoint: &Path) -> PathBuf {
    PathBuf::from(format!("{}.evaluation.json", checkpoint.display()))
}

/// Keeps an evaluation beside a checkpoint, of the state that is there.
fn keep(checkpoint: &Path, value: f64) -> String {
    let sha256 = Checkpoint::open(checkpoint).unwrap().metadata().unwrap().checkpoint_checksum;
    let text = format!(
        "{{\"checkpoint_path\": \"x\", \"checkpoint_checksum\": \"{sha256}\", \"run_id\": \"r1\",\n\
         \"evaluations\": [{value}]}}\n"
    );
    fs::write(beside(checkpoint), &text).unwrap();
    text
}

/// The evaluations that come with a checkpoint to another disk.
fn got(objects: &SimulatedStore, name: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let run = run_in(directory.path());
    let mirrored = MirroredRun::open(&observer(objects), "r1").unwrap();
    let path = mirrored.download(mirrored.find(name).unwrap(), &run, &|_| Ok(())).unwrap();
    Checkpoint::open(&path).unwrap().verify().unwrap();
    fs::read_to_string(beside(&path)).ok()
}

fn writes(objects: &SimulatedStore) -> usize {
    let history = objects.history();
    history.iter().filter(|line| line.starts_with("put") && line.contains(".evaluation.json")).count()
}

#[test]
fn evaluations_are_sent_with_their_checkpoint_or_after_it_and_only_if_they_have_changed() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let [one, two] = [1, 2].map(|step| {
        save(&run, &format!("last/step={step}.ckpt"), step, time(step.cast_signed()), step, false)
    });
    let first = keep(&one, 0.25);
    let mut mirror = open(&objects, 1);
    for path in [&one, &two] {
        assert!(!mirror.send(&run, path, &|_| Ok(())).unwrap().was_there);
    }
    assert_eq!((got(&objects, "last/step=1.ckpt"), writes(&objects)), (Some(first), 1));
    assert_eq!(got(&objects, "last/step=2.ckpt"), None);
    // Another value of the same length, and one beside a checkpoint that had none.
    let (changed, later) = (keep(&one, 0.75), keep(&two, 0.5));
    assert!(mirror.send(&run, &one, &|_| Ok(())).unwrap().was_there);
    assert_eq!(mirror.send_evaluations(&run).unwrap(), 1);
    assert_eq!(mirror.send_evaluations(&run).unwrap(), 0);
    assert_eq!(got(&objects, "last/step=1.ckpt"), Some(changed));
    assert_eq!(got(&objects, "last/step=2.ckpt"), Some(later));
    mirror.close().unwrap();
    // Nor does the next writer send what is there.
    let mut mirror = open(&objects, 2);
    assert_eq!((mirror.send_evaluations(&run).unwrap(), writes(&objects)), (0, 3));
    assert_eq!(mirror.remove_leftovers(SignedDuration::from_secs(-3600)).unwrap().objects, 0);
    // They are deleted with their checkpoint.
    mirror.apply_retention(&MirrorKeep::last(1)).unwrap();
    let left = system_tests::object_stores::objects(&*objects.observer());
    let left: Vec<&str> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert!(left.iter().all(|name| !name.contains("step=1.")), "{left:?}");
    assert!(left.iter().any(|name| name.ends_with("step=2.ckpt.evaluation.json")), "{left:?}");
}

#[test]
fn evaluations_of_checkpoints_outside_of_the_run_are_sent_after_them_too() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    // Of which the mirror has one.
    let [one, two] = of_one_name_outside(root.path(), &run);
    let mut mirror = open(&objects, 1);
    for path in [&one, &two] {
        mirror.send(&run, path, &|_| Ok(())).unwrap();
        let texts = [keep(&one, 0.25), keep(&two, 0.75)];
        let text = if path == &one { &texts[0] } else { &texts[1] };
        assert_eq!(mirror.send_evaluations(&run).unwrap(), 1, "{path:?}");
        assert_eq!(got(&objects, "outside/x.ckpt").as_ref(), Some(text), "{path:?}");
        for path in [&one, &two] {
            fs::remove_file(beside(path)).unwrap();
        }
    }
}

#[test]
fn evaluations_of_another_state_are_neither_sent_nor_taken_nor_is_what_is_not_one() {
    let root = tempfile::tempdir().unwrap();
    let [run, other] = ["one", "other"].map(|name| run_in(&root.path().join(name)));
    let objects = SimulatedStore::new(1, FaultRates::default());
    let name = "last/step=1.ckpt";
    let path = save(&run, name, 1, time(1), 1, false);
    let mut mirror = open(&objects, 1);
    keep(&path, 0.25);
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    assert!(got(&objects, name).is_some());
    // Another state takes the name, and has none.
    let replaced = save(&other, name, 1, time(2), 2, false);
    assert!(!mirror.send(&other, &replaced, &|_| Ok(())).unwrap().was_there);
    assert_eq!(got(&objects, name), None);
    // Beside it on disk there are those of the older one, or what is damaged.
    for text in [fs::read_to_string(beside(&path)).unwrap(), "{\"checkpoint_checksum\":".to_owned()] {
        fs::write(beside(&replaced), text).unwrap();
        assert_eq!(mirror.send_evaluations(&other).unwrap(), 0);
    }
    let text = keep(&replaced, 0.5);
    assert_eq!(mirror.send_evaluations(&other).unwrap(), 1);
    assert_eq!(got(&objects, name), Some(text));
    assert_eq!(objects_of_evaluations(&objects), 1);
}

#[test]
fn evaluations_that_cannot_be_read_keep_neither_their_checkpoint_nor_those_of_others_back() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let [one, two] = [1, 2].map(|step| {
        save(&run, &format!("last/step={step}.ckpt"), step, time(step.cast_signed()), step, false)
    });
    // A user's directory.
    fs::create_dir(beside(&one)).unwrap();
    let mut mirror = open(&objects, 1);
    for path in [&one, &two] {
        assert!(!mirror.send(&run, path, &|_| Ok(())).unwrap().was_there);
    }
    assert_eq!(mirror.checkpoints().len(), 2);
    let text = keep(&two, 0.5);
    let error = mirror.send_evaluations(&run).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == beside(&one)), "{error:?}");
    assert_eq!(got(&objects, "last/step=2.ckpt"), Some(text));
}

fn objects_of_evaluations(store: &SimulatedStore) -> usize {
    objects(&*store.observer()).iter().filter(|(name, _)| name.ends_with(".evaluation.json")).count()
}
