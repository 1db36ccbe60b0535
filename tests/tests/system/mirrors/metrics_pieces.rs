//! The log of metrics of a long run: its small pieces are written again as one, and what nothing needs any
//! more is deleted. Whatever fails meanwhile, each checkpoint has its whole log.

use std::fs;
use std::path::PathBuf;

use burn_ckpt::RunLayout;
use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store};
use jiff::{SignedDuration, Timestamp};
use system_tests::object_stores::{FaultRates, SimulatedStore, objects};
use tempfile::TempDir;

use super::{PART_BYTES, address, observer, run_in, save, writer};

/// With the next one the pieces are joined.
const MANY: usize = 32;
/// A checkpoint that a link keeps, and the pieces of its log.
const KEPT: usize = 5;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A run of many saves, each with its log at that time.
struct LongRun {
    root: TempDir,
    run: RunLayout,
    paths: Vec<PathBuf>,
    logs: Vec<Vec<u8>>,
}

impl LongRun {
    fn new(saves: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let run = run_in(root.path());
        let (mut paths, mut logs) = (Vec::new(), Vec::new());
        for step in 1..=saves as u64 {
            let time = Timestamp::new(1_800_000_000 + step.cast_signed(), 0).unwrap();
            paths.push(save(&run, &format!("last/step={step}.ckpt"), step, time, step, false));
            logs.push(fs::read(run.run_dir().join("metrics.jsonl")).unwrap());
        }
        Self { root, run, paths, logs }
    }

    /// A mirror with so many pieces that the next one joins them. They are old.
    fn mirrored(&self) -> SimulatedStore {
        let objects = SimulatedStore::new(1, FaultRates::default());
        let mut mirror = open(&objects, 1);
        for path in &self.paths[..MANY] {
            mirror.send(&self.run, path, &|_| Ok(())).unwrap();
        }
        mirror.point("kept.ckpt", &format!("last/step={KEPT}.ckpt")).unwrap();
        mirror.apply_retention(&MirrorKeep::last(2)).unwrap();
        mirror.close().unwrap();
        objects.pass(HOUR * 2);
        assert_eq!(pieces(&objects), MANY);
        objects
    }

    /// Sends the next checkpoint, and deletes what nothing needs.
    fn join(&self, objects: &SimulatedStore, token: u64, killed_after: Option<u64>) -> burn_ckpt::Result<()> {
        let store = Store::with_objects(&address(), objects.client(killed_after, None), PART_BYTES)?;
        let mut mirror = RunMirror::open(&store, "r1", &writer(objects, "joins", token))?;
        mirror.send(&self.run, &self.paths[MANY], &|_| Ok(()))?;
        mirror.apply_retention(&MirrorKeep::last(1))?;
        mirror.remove_leftovers(HOUR)?;
        mirror.close()
    }

    /// Looks at the logs as a reader would. Returns the steps that are there.
    fn check(&self, objects: &SimulatedStore) -> Vec<u64> {
        let mirrored = MirroredRun::open(&observer(objects), "r1").unwrap();
        assert!(mirrored.broken().is_empty(), "{:?}", mirrored.broken());
        let path = self.root.path().join("got.jsonl");
        for checkpoint in mirrored.checkpoints() {
            assert!(mirrored.download_metrics_log(checkpoint, &path, &|_| Ok(())).unwrap());
            let log = &self.logs[checkpoint.global_step as usize - 1];
            assert!(fs::read(&path).unwrap() == *log, "{} has another log", checkpoint.name);
            fs::remove_file(&path).unwrap();
        }
        mirrored.checkpoints().iter().map(|checkpoint| checkpoint.global_step).collect()
    }
}

fn open(objects: &SimulatedStore, token: u64) -> RunMirror {
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    RunMirror::open(&store, "r1", &writer(objects, "w", token)).unwrap()
}

fn pieces(store: &SimulatedStore) -> usize {
    let names = objects(&*store.observer()).into_iter().map(|(name, _)| name);
    names.filter(|name| name.contains("/metrics/")).count()
}

#[test]
fn a_run_of_many_saves_has_few_pieces_and_each_checkpoint_its_whole_log() {
    let long = LongRun::new(120);
    let objects = SimulatedStore::new(1, FaultRates::default());
    let (mut mirror, mut most) = (open(&objects, 1), 0);
    for (number, path) in (1..).zip(&long.paths) {
        mirror.send(&long.run, path, &|_| Ok(())).unwrap();
        if number == KEPT {
            mirror.point("kept.ckpt", &format!("last/step={KEPT}.ckpt")).unwrap();
        }
        mirror.apply_retention(&MirrorKeep::last(2)).unwrap();
        mirror.remove_leftovers(HOUR).unwrap();
        // Another start now and then.
        if number % 25 == 0 {
            mirror.close().unwrap();
            mirror = open(&objects, number as u64);
        }
        objects.pass(SignedDuration::from_mins(10));
        most = most.max(pieces(&objects));
    }
    assert_eq!(long.check(&objects), [KEPT as u64, 119, 120]);
    // Those that wait to be joined, those of the last hour, and those of the kept one.
    assert!(most > MANY && most < MANY + 6 + KEPT + 4, "{most} pieces");
}

#[test]
fn whatever_operation_fails_while_pieces_are_joined_each_checkpoint_has_its_whole_log() {
    let long = LongRun::new(MANY + 1);
    let objects = long.mirrored();
    let before = objects.history().len();
    long.join(&objects, 2, None).unwrap();
    let both = [KEPT as u64, MANY as u64 + 1];
    assert_eq!(long.check(&objects), both);
    assert_eq!(pieces(&objects), KEPT + 1);
    let all = (objects.history().len() - before) as u64;
    assert!(all > 40, "{all} operations");
    let is_whole = std::env::var("STORAGE_FAULTS").is_ok_and(|which| which == "all");
    for killed_after in (0..all).step_by(if is_whole { 1 } else { 3 }) {
        let objects = long.mirrored();
        long.join(&objects, 2, Some(killed_after)).unwrap_err();
        let there = long.check(&objects);
        assert!(there.len() >= 2, "{killed_after}: {there:?}");
        objects.pass(HOUR * 2);
        long.join(&objects, 3, None).unwrap();
        assert_eq!(long.check(&objects), both, "{killed_after}");
        assert!(pieces(&objects) <= KEPT + 2, "{killed_after}: {} pieces", pieces(&objects));
    }
}
