//! What one writer sends: content that is there is not sent again, the log of metrics only as far as it has
//! grown, and retention deletes what no checkpoint has any more.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Error, RunLayout};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use system_tests::object_stores::{FaultRates, HookedStore, SimulatedStore, objects, unreachable};

use super::{PART_BYTES, address, files_of, observer, of_one_name_outside, run_in, save, time, writer};

fn open(objects: &SimulatedStore, token: u64) -> RunMirror {
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    RunMirror::open(&store, "r1", &writer(objects, "w", token)).unwrap()
}

fn send(mirror: &mut RunMirror, run: &RunLayout, path: &Path) -> u64 {
    mirror.send(run, path, &|_| Ok(())).unwrap().bytes
}

/// The log of metrics of a checkpoint, as the mirror has it.
fn log_of(objects: &SimulatedStore, name: &str, scratch: &Path) -> Vec<u8> {
    let mirrored = MirroredRun::open(&observer(objects), "r1").unwrap();
    let path = scratch.join("metrics.jsonl");
    assert!(mirrored.download_metrics_log(mirrored.find(name).unwrap(), &path, &|_| Ok(())).unwrap());
    let log = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    log
}

#[test]
fn a_state_with_two_names_is_sent_once_and_stays_while_one_of_them_does() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let last = save(&run, "last/step=1.ckpt", 1, time(1), 1, true);
    let best = run.checkpoint_dir().join("best/step=1.ckpt");
    fs::create_dir_all(best.with_extension("shards")).unwrap();
    for (name, _) in files_of(&last) {
        let in_shards = name.starts_with("state-");
        let place = |of: &Path| {
            if in_shards { of.with_extension("shards") } else { of.parent().unwrap().to_path_buf() }
        };
        fs::hard_link(place(&last).join(&name), place(&best).join(&name)).unwrap();
    }
    let newer = save(&run, "last/step=2.ckpt", 2, time(2), 2, false);
    let mut mirror = open(&objects, 1);
    let (first, second) = (send(&mut mirror, &run, &last), send(&mut mirror, &run, &best));
    assert!(first > 18_000 && second == 0, "{first} and {second} bytes");
    send(&mut mirror, &run, &newer);
    mirror.point("best_val_loss.ckpt", "best/step=1.ckpt").unwrap();
    let removed = mirror.apply_retention(&MirrorKeep::last(1)).unwrap();
    assert_eq!(removed.checkpoints, ["last/step=1.ckpt"]);
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let got = root.path().join("got.ckpt");
    mirrored.download_to(mirrored.find("best").unwrap(), &got, &|_| Ok(())).unwrap();
    assert_eq!(fs::read(&got).unwrap(), fs::read(&best).unwrap());
}

#[test]
fn the_log_of_metrics_is_sent_as_it_grows_and_a_resumed_run_that_cuts_it_changes_no_older_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(&root.path().join("one")), SimulatedStore::new(1, FaultRates::default()));
    let mut mirror = open(&objects, 1);
    let mut logs = Vec::new();
    for step in 1..=3 {
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time(step as i64), step, false);
        send(&mut mirror, &run, &path);
        logs.push(fs::read(run.run_dir().join("metrics.jsonl")).unwrap());
    }
    mirror.close().unwrap();
    // Another machine resumes from the second checkpoint.
    let other = run_in(&root.path().join("two"));
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let log = other.run_dir().join("metrics.jsonl");
    mirrored.download(&mirrored.checkpoints()[1], &other, &|_| Ok(())).unwrap();
    mirrored.download_metrics_log(&mirrored.checkpoints()[1], &log, &|_| Ok(())).unwrap();
    let path = save(&other, "last/step=4.ckpt", 4, time(4), 40, false);
    let resumed = fs::read(&log).unwrap();
    let mut mirror = open(&objects, 2);
    let before = objects.history().len();
    send(&mut mirror, &other, &path);
    let pieces = |history: &[String]| {
        history.iter().filter(|line| line.starts_with("put") && line.contains("/metrics/")).count()
    };
    assert_eq!(pieces(&objects.history()[before..]), 1, "only what is new is sent");
    assert_eq!(pieces(&objects.history()), 4);
    for (step, log) in (1..).zip(&logs) {
        assert_eq!(log_of(&objects, &format!("last/step={step}.ckpt"), root.path()), *log, "step {step}");
    }
    assert_eq!(log_of(&objects, "last/step=4.ckpt", root.path()), resumed);
    assert!(resumed.starts_with(&logs[1]) && !resumed.starts_with(&logs[2]));
}

#[test]
fn retention_keeps_the_best_the_newest_and_what_links_name() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let mut mirror = open(&objects, 1);
    for step in 1..=6 {
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time(step as i64), step, false);
        send(&mut mirror, &run, &path);
    }
    mirror.point("kept.ckpt", "last/step=1.ckpt").unwrap();
    let loss = |checkpoint: &burn_ckpt::mirror::MirroredCheckpoint| checkpoint.metrics["val_loss"];
    let best = mirror.checkpoints().iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap().name.clone();
    let keep = MirrorKeep::last(2).and_best("val_loss", MetricMode::Min, 1);
    let removed = mirror.apply_retention(&keep).unwrap();
    let left: Vec<String> = mirror.checkpoints().iter().map(|checkpoint| checkpoint.name.clone()).collect();
    for name in ["last/step=1.ckpt", "last/step=5.ckpt", "last/step=6.ckpt", best.as_str()] {
        assert!(left.iter().any(|left| left == name), "{name} is not in {left:?}");
    }
    assert_eq!(left.len() + removed.checkpoints.len(), 6);
    assert_eq!(removed.objects, 3 * removed.checkpoints.len() as u64);
}

/// The names that stay of states that are saved under several names: directories with the steps in them.
fn left(states: &[(&str, &[u64])], keep: &MirrorKeep) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let mut mirror = open(&objects, 1);
    let mut all: Vec<(u64, &str)> =
        states.iter().flat_map(|(directory, steps)| steps.iter().map(|step| (*step, *directory))).collect();
    all.sort_unstable();
    for (step, directory) in all {
        let name = format!("{directory}/step={step}.ckpt");
        let path = save(&run, &name, step, time(step as i64), step, false);
        send(&mut mirror, &run, &path);
    }
    mirror.apply_retention(keep).unwrap();
    let left = MirroredRun::open(&observer(&objects), "r1").unwrap();
    let mut left: Vec<String> = left.checkpoints().iter().map(|it| it.name.clone()).collect();
    left.sort();
    left
}

#[test]
fn a_rule_of_a_directory_ranks_what_is_in_it_and_the_others_stay() {
    // The best two, which are not the last ones; each step, and each fourth.
    let states: [(&str, &[u64]); 4] =
        [("best", &[1, 2, 3, 4]), ("last", &[3, 4, 8]), ("steps", &[6, 7, 8]), ("other", &[1])];
    let keep = MirrorKeep::all().and_newest_in("last", 2).and_newest_in("steps", 2);
    let keep = keep.and_best_in("best", "val_loss", MetricMode::Min, 2);
    let found = left(&states, &keep);
    let best: Vec<&String> = found.iter().filter(|name| name.starts_with("best/")).collect();
    let others: Vec<&String> = found.iter().filter(|name| !name.starts_with("best/")).collect();
    assert_eq!(best.len(), 2, "{found:?}");
    let expected = [
        "last/step=4.ckpt",
        "last/step=8.ckpt",
        "other/step=1.ckpt",
        "steps/step=7.ckpt",
        "steps/step=8.ckpt",
    ];
    assert_eq!(others, expected.each_ref());
}

#[test]
fn a_rule_without_a_directory_that_follows_all_deletes_nothing_more() {
    let states: [(&str, &[u64]); 2] = [("last", &[1, 2, 3]), ("other", &[4, 5, 6])];
    let keep = MirrorKeep::all().and_best("val_loss", MetricMode::Min, 1);
    assert_eq!(left(&states, &keep).len(), 6);
    let found = left(&states, &keep.and_newest_in("last", 1));
    assert_eq!(found.iter().filter(|name| name.starts_with("other/")).count(), 3, "{found:?}");
    assert!(found.contains(&"last/step=3.ckpt".to_owned()) && found.len() < 6, "{found:?}");
}

#[test]
fn rules_without_a_directory_count_states_and_keep_each_of_their_names() {
    let states: [(&str, &[u64]); 2] = [("best", &[1, 3]), ("last", &[1, 2, 3])];
    let two = ["best/step=3.ckpt", "last/step=2.ckpt", "last/step=3.ckpt"];
    assert_eq!(left(&states, &MirrorKeep::last(2)), two);
    // The best of all is a state of which both names stay.
    let loss = MirrorKeep::last(1).and_best("val_loss", MetricMode::Min, 3);
    assert_eq!(left(&states, &loss).len(), 5);
}

#[test]
fn a_checkpoint_whose_name_no_reader_accepts_is_not_sent() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let mut mirror = open(&objects, 1);
    let before = objects.history().len();
    let deep = vec!["d"; 15].join("/");
    for (name, files) in [("ckpts:v2/x.ckpt", false), ("a./x.ckpt", false), (&format!("{deep}/x.ckpt"), true)]
    {
        let path = save(&run, name, 1, time(1), 1, files);
        let error = mirror.send(&run, &path, &|_| Ok(())).unwrap_err();
        assert!(matches!(&error, Error::Name { reason, .. } if reason.contains("16 parts")), "{error:?}");
    }
    assert_eq!(objects.history().len(), before);
    // A state of one file is not as deep.
    let path = save(&run, &format!("{deep}/one.ckpt"), 1, time(1), 1, false);
    send(&mut mirror, &run, &path);
    assert_eq!(MirroredRun::open(&observer(&objects), "r1").unwrap().checkpoints().len(), 1);
}

#[test]
fn content_whose_deletion_fails_is_deleted_by_the_next_call() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let (disk, is_failing) = (Arc::new(InMemory::new()), Arc::new(AtomicBool::new(true)));
    let failing = Arc::clone(&is_failing);
    let store = HookedStore::new(Arc::clone(&disk) as Arc<dyn ObjectStore>, move |operation| {
        let is_content = operation.name == "delete" && !operation.path.ends_with(".commit.json");
        if is_content && failing.load(Ordering::SeqCst) { Err(unreachable()) } else { Ok(()) }
    });
    let store = Store::with_objects(&address(), Arc::new(store), PART_BYTES).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    for step in 1..=2 {
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time(step as i64), step, true);
        send(&mut mirror, &run, &path);
    }
    let of_first = || objects(&*disk).into_iter().filter(|(name, _)| name.contains("/step=1.")).count();
    let all = of_first();
    let keep = MirrorKeep::last(1);
    mirror.apply_retention(&keep).unwrap_err();
    assert_eq!(of_first(), all - 1, "the commit object is deleted, and the content is not");
    is_failing.store(false, Ordering::SeqCst);
    let removed = mirror.apply_retention(&keep).unwrap();
    assert_eq!((removed.objects as usize, of_first()), (all - 1, 0));
    assert_eq!(mirror.apply_retention(&keep).unwrap().objects, 0);
}

#[test]
fn content_of_a_commit_object_that_cannot_be_read_is_not_a_leftover_and_a_newer_format_is_said() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let disk = Arc::new(InMemory::new());
    let store =
        Store::with_objects(&address(), Arc::clone(&disk) as Arc<dyn ObjectStore>, PART_BYTES).unwrap();
    let open = || RunMirror::open(&store, "r1", &Writer::of_this_process());
    let mut mirror = open().unwrap();
    for step in 1..=2 {
        let path = save(&run, &format!("last/step={step}.ckpt"), step, time(step as i64), step, true);
        send(&mut mirror, &run, &path);
    }
    mirror.point("best_val_loss.ckpt", "last/step=1.ckpt").unwrap();
    mirror.close().unwrap();
    let before = objects(&*disk).len();
    let (key, _) =
        objects(&*disk).into_iter().find(|(name, _)| name.ends_with("step=1.ckpt.commit.json")).unwrap();
    let key = ObjectPath::parse(key).unwrap();
    let whole = disk.get(&key).now_or_never().unwrap().unwrap().bytes().now_or_never().unwrap().unwrap();
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let write = |text: &str| {
        disk.put(&key, text.to_owned().into()).now_or_never().unwrap().unwrap();
    };

    write(&text[..text.len() / 2]);
    let mut mirror = open().unwrap();
    assert_eq!(mirror.remove_leftovers(SignedDuration::from_secs(-3600)).unwrap().objects, 0);
    mirror.close().unwrap();

    write(&text.replacen("\"version\": 1", "\"version\": 2", 1));
    // A writer cannot rank what it cannot read.
    let error = open().unwrap_err();
    assert!(matches!(&error, Error::NewerFormat { found: 2, .. }), "{error:?}");
    // A reader has the others, and says why it lacks this one.
    let mirrored = MirroredRun::open(&store, "r1").unwrap();
    assert_eq!(mirrored.checkpoints().len(), 1);
    for name in ["last/step=1.ckpt", "best", "best_val_loss"] {
        let error = mirrored.find(name).unwrap_err();
        assert!(matches!(&error, Error::NewerFormat { found: 2, .. }), "{name}: {error:?}");
    }
    assert_eq!(mirrored.find("last").unwrap().name, "last/step=2.ckpt");
    assert_eq!(objects(&*disk).len(), before);
    write(&text);
    open().unwrap();
}

#[test]
fn parts_are_given_up_whose_upload_cannot_be_completed() {
    let root = tempfile::tempdir().unwrap();
    let run = run_in(root.path());
    let path = save(&run, "last/step=1.ckpt", 1, time(1), 1, false);
    let (writes, given_up) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, noted) = (Arc::clone(&writes), Arc::clone(&given_up));
    let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        let is_content = operation.path.ends_with("step=1.ckpt");
        noted.fetch_add(u64::from(is_content && operation.name == "abort"), Ordering::SeqCst);
        // The second write of an upload is its end.
        let is_end = is_content && operation.name == "put" && counted.fetch_add(1, Ordering::SeqCst) == 1;
        if is_end { Err(unreachable()) } else { Ok(()) }
    });
    let store = Store::with_objects(&address(), Arc::new(store), PART_BYTES).unwrap();
    let writer = Writer::new("w", 1, || Timestamp::constant(1_800_000_000, 0));
    let mut mirror = RunMirror::open(&store, "r1", &writer).unwrap();
    let error = mirror.send(&run, &path, &|_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Mirror { .. }), "{error:?}");
    assert_eq!(given_up.load(Ordering::SeqCst), 1);
    assert!(!mirror.send(&run, &path, &|_| Ok(())).unwrap().was_there);
    assert_eq!(given_up.load(Ordering::SeqCst), 1);
}

#[test]
fn a_link_out_of_the_run_names_a_checkpoint_of_the_mirror_only_if_that_has_its_state() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let [one, two] = of_one_name_outside(root.path(), &run);
    // Of a user's.
    let own = run.checkpoint_dir().join("own.ckpt");
    std::os::unix::fs::symlink(&own, &own).unwrap();
    let mut mirror = open(&objects, 1);
    send(&mut mirror, &run, &one);
    mirror.send_links(&run).unwrap();
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    assert_eq!(mirrored.links(), ["best_val_loss.ckpt"]);
    assert_eq!(mirrored.find("best").unwrap().name, "outside/x.ckpt");
    // The other one takes its place, also where nothing can be deleted. The older link names no state that
    // is not its own, before the links are sent too.
    for are_links_sent in [false, true] {
        send(&mut mirror, &run, &two);
        if are_links_sent {
            mirror.send_links(&run).unwrap();
        }
        let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
        assert_eq!(mirrored.link_target("best_val_loss.ckpt").unwrap(), None);
        let error = mirrored.find("best").unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(mirrored.find("last").unwrap().global_step, 2);
    }
    send(&mut mirror, &run, &one);
    mirror.send_links(&run).unwrap();
    let mirrored = MirroredRun::open(&observer(&objects), "r1").unwrap();
    assert_eq!(mirrored.find("best").unwrap().global_step, 1);
    assert_eq!(mirrored.link_target("last.ckpt").unwrap(), None);
}
