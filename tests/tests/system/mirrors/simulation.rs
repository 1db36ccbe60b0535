//! Histories of a mirror on a store that fails by chance, each from one seed: whatever happened, the mirror
//! has a whole newest checkpoint or none, never a wrong one, and never an older one than was reported as
//! sent.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store};
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Error, RunLayout};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use system_tests::object_stores::{FaultRates, Hook, SimulatedStore};
use system_tests::random::SplitMix64;

use super::{PART_BYTES, address, files_of, observer, run_in, save, writer};

const HISTORIES: u64 = 60;
const STEPS: u64 = 30;

type Files = Vec<(String, Vec<u8>)>;
/// The files of a checkpoint, and the log of metrics at that time.
type Saved = (Files, Vec<u8>);

/// A simulated run: what its disk had, and what was reported of the mirror.
struct History {
    objects: SimulatedStore,
    random: SplitMix64,
    root: PathBuf,
    run: RunLayout,
    /// Each state that was ever saved under a name, with the log at that time.
    truth: Arc<Mutex<BTreeMap<String, Vec<Saved>>>>,
    saved: Vec<PathBuf>,
    /// The newest state that was reported as sent.
    reported: Arc<Mutex<Option<(Timestamp, u64)>>>,
    /// How many commit objects late deletions have deleted.
    deleted_late: Cell<usize>,
    step: u64,
    writers: u64,
    mirror: Option<RunMirror>,
}

impl History {
    fn new(seed: u64, rates: FaultRates, root: &Path) -> Self {
        Self {
            objects: SimulatedStore::new(seed, rates),
            random: SplitMix64::new(seed ^ 0xABCD),
            root: root.to_path_buf(),
            run: run_in(&root.join("disk")),
            truth: Arc::default(),
            saved: Vec::new(),
            reported: Arc::default(),
            deleted_late: Cell::default(),
            step: 0,
            writers: 0,
            mirror: None,
        }
    }

    /// One event of the history.
    fn event(&mut self) {
        match self.random.below(12) {
            0..=3 => self.train(),
            4 | 5 => self.send_again(),
            6 => self.links(),
            7 => self.retention(),
            8 => self.kill(),
            9 => self.overtaken(),
            10 => self.resume_on_an_empty_disk(),
            _ => self.objects.pass(SignedDuration::from_mins(self.random.below(40).cast_signed())),
        }
        self.objects.pass(SignedDuration::from_secs(1));
    }

    /// A new writer, which may be killed after some operations, and which another one may overtake.
    fn open(&mut self, killed_after: Option<u64>, hook: Option<(u64, Hook)>) {
        self.writers += 1;
        let client = self.objects.client(killed_after, hook);
        let store = Store::with_objects(&address(), client, PART_BYTES).unwrap();
        let name = format!("writer {}", self.writers);
        match RunMirror::open(&store, "r1", &writer(&self.objects, &name, self.writers)) {
            Ok(mirror) => self.mirror = Some(mirror),
            Err(Error::MirrorInUse { .. } | Error::Mirror { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn train(&mut self) {
        self.step += 1 + self.random.below(3);
        let name = format!("last/step={}.ckpt", self.step);
        let (content, files) = (self.random.next_u64(), self.random.below(4) == 0);
        if self.run.checkpoint_dir().join(&name).exists() {
            return;
        }
        let path = save(&self.run, &name, self.step, self.objects.now(), content, files);
        let log = fs::read(self.run.run_dir().join("metrics.jsonl")).unwrap();
        self.truth.lock().entry(name).or_default().push((files_of(&path), log));
        self.saved.push(path);
        self.send(self.saved.len() - 1);
    }

    fn send_again(&mut self) {
        if !self.saved.is_empty() {
            let place = self.random.below(self.saved.len() as u64);
            self.send(place as usize);
        }
    }

    fn send(&mut self, place: usize) {
        if self.mirror.is_none() {
            let killed_after = (self.random.below(3) == 0).then(|| self.random.below(60));
            self.open(killed_after, None);
        }
        let Some(mirror) = &mut self.mirror else { return };
        if !send_and_report(mirror, &self.run, &self.saved[place], &self.reported)
            && self.random.below(2) == 0
        {
            self.mirror = None;
        }
    }

    fn links(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        if let Some(newest) = mirror.checkpoints().last().map(|checkpoint| checkpoint.name.clone()) {
            tolerate(mirror.point("last.ckpt", &newest));
        }
    }

    fn retention(&mut self) {
        let Some(mirror) = &mut self.mirror else { return };
        let keep = MirrorKeep::last(2).and_best("val_loss", MetricMode::Min, 1);
        tolerate(mirror.apply_retention(&keep));
        tolerate(mirror.remove_leftovers(SignedDuration::from_hours(1)));
    }

    /// The process ends, wherever it is. A later one waits until the lease is over, or not.
    fn kill(&mut self) {
        self.mirror = None;
        self.objects.pass(SignedDuration::from_mins(self.random.below(8).cast_signed()));
    }

    /// A writer stops in the middle of its work for longer than its lease. Another one sends in that time.
    /// The first one continues.
    fn overtaken(&mut self) {
        if self.saved.is_empty() {
            return;
        }
        self.mirror = None;
        self.objects.pass(SignedDuration::from_mins(6));
        let (objects, run, reported) = (self.objects.clone(), self.run.clone(), Arc::clone(&self.reported));
        let place = self.random.below(self.saved.len() as u64) as usize;
        let (path, token) = (self.saved[place].clone(), 1_000_000 + self.writers);
        let hook: Hook = Box::new(move || {
            objects.pass(SignedDuration::from_mins(6));
            let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
            let opened = RunMirror::open(&store, "r1", &writer(&objects, "the second", token));
            if let Ok(mut mirror) = opened {
                send_and_report(&mut mirror, &run, &path, &reported);
                tolerate(mirror.apply_retention(&MirrorKeep::last(1)));
            }
        });
        let at = 3 + self.random.below(25);
        self.open(None, Some((at, hook)));
        if self.mirror.is_some() {
            self.send_again();
            self.retention();
        }
        self.mirror = None;
    }

    /// The machine is gone. Another one begins with what the mirror has, and trains on from there.
    fn resume_on_an_empty_disk(&mut self) {
        self.mirror = None;
        let mirrored = MirroredRun::open(&observer(&self.objects), "r1").unwrap();
        let Some(newest) = mirrored.newest() else { return };
        let run = run_in(&self.root.join(format!("disk-{}", self.writers)));
        if run.run_dir().exists() {
            return;
        }
        let path = mirrored.download(newest, &run, &|_| Ok(())).unwrap();
        mirrored.download_metrics_log(newest, run.run_dir().join("metrics.jsonl"), &|_| Ok(())).unwrap();
        (self.run, self.saved, self.step) = (run, vec![path], newest.global_step);
    }

    /// Looks at the mirror as a reader would.
    fn check(&self, scratch: &Path) {
        let mirrored = MirroredRun::open(&observer(&self.objects), "r1").unwrap();
        let truth = self.truth.lock();
        for checkpoint in mirrored.checkpoints() {
            let place = scratch.join("got").join(&checkpoint.name);
            mirrored.download_to(checkpoint, &place, &|_| Ok(())).unwrap();
            let log = scratch.join("got/metrics.jsonl");
            let has_log = mirrored.download_metrics_log(checkpoint, &log, &|_| Ok(())).unwrap();
            let found = (files_of(&place), if has_log { fs::read(&log).unwrap() } else { Vec::new() });
            let is_true =
                |(files, log): &(Files, Vec<u8>)| *files == found.0 && (!has_log || *log == found.1);
            assert!(truth[&checkpoint.name].iter().any(is_true), "{} is another state", checkpoint.name);
            fs::remove_dir_all(scratch.join("got")).unwrap();
        }
        let newest = mirrored.newest().map(|newest| (newest.checkpoint_timestamp, newest.global_step));
        let mut reported = self.reported.lock();
        // The window that is left: a deletion that was late has met a checkpoint that was sent again.
        let deleted_late = self.objects.deleted_late();
        let deleted_late = deleted_late.iter().filter(|key| key.ends_with(".commit.json")).count();
        if deleted_late > self.deleted_late.replace(deleted_late) {
            *reported = (*reported).min(newest);
        }
        let reported = *reported;
        assert!(newest >= reported, "{reported:?} was reported as sent, and the newest is {newest:?}");
        if let Some(newest) = mirrored.newest() {
            // A link can be behind. What it leads to is whole.
            let last = mirrored.find("last").unwrap();
            assert!(last.checkpoint_timestamp <= newest.checkpoint_timestamp);
        }
    }
}

/// Sends a checkpoint, and notes what was reported.
fn send_and_report(
    mirror: &mut RunMirror,
    run: &RunLayout,
    path: &Path,
    reported: &Mutex<Option<(Timestamp, u64)>>,
) -> bool {
    let sent = match mirror.send(run, path, &|_| Ok(())) {
        Ok(sent) => sent,
        Err(error) => {
            assert_is_of_the_store(&error);
            return false;
        }
    };
    let there = mirror.checkpoints().iter().find(|checkpoint| checkpoint.name == sent.name).unwrap();
    let state = Some((there.checkpoint_timestamp, there.global_step));
    let mut reported = reported.lock();
    *reported = (*reported).max(state);
    true
}

fn tolerate<T>(outcome: Result<T, Error>) {
    if let Err(error) = outcome {
        assert_is_of_the_store(&error);
    }
}

/// Whatever a store does, the error says so.
fn assert_is_of_the_store(error: &Error) {
    assert!(matches!(error, Error::Mirror { .. } | Error::MirrorInUse { .. }), "{error:?}");
}

fn history(seed: u64, rates: FaultRates) -> History {
    let root = tempfile::tempdir().unwrap();
    let mut history = History::new(seed, rates, root.path());
    for _ in 0..STEPS {
        history.event();
        history.check(root.path());
    }
    // The store recovers: what is late is done, and the run sends its newest state.
    history.mirror = None;
    history.objects.calm();
    history.check(root.path());
    history.objects.pass(SignedDuration::from_mins(6));
    history.open(None, None);
    assert!(history.mirror.is_some(), "a writer begins once the store works and the lease is over");
    history.train();
    history.check(root.path());
    let newest =
        MirroredRun::open(&observer(&history.objects), "r1").unwrap().newest().map(|it| it.global_step);
    assert_eq!(newest, Some(history.step), "what is sent then is the newest");
    history
}

#[test]
fn after_any_history_the_mirror_has_a_whole_newest_checkpoint_or_none_and_never_a_wrong_one() {
    let (mut faults, mut deleted_late) = (0, 0);
    for seed in 0..HISTORIES {
        let rates = if seed % 2 == 0 { FaultRates::bad() } else { FaultRates::rare() };
        let history = std::panic::catch_unwind(|| history(seed, rates));
        let Ok(history) = history else { panic!("the history of seed {seed} fails") };
        deleted_late += history.deleted_late.get();
        faults += history.objects.history().iter().filter(|operation| !operation.ends_with("None")).count();
    }
    assert!(faults > 500, "only {faults} operations failed in all histories");
    assert!(deleted_late > 0, "no deletion was late");
}

#[test]
fn a_history_repeats_itself() {
    for seed in [3, 14, 15] {
        let (one, again) = (history(seed, FaultRates::bad()), history(seed, FaultRates::bad()));
        let (one, again) = (one.objects.history(), again.objects.history());
        assert!(one.len() > 50, "{}", one.len());
        assert_eq!(one, again, "seed {seed}");
    }
}

#[test]
fn without_faults_everything_that_is_sent_is_there() {
    let root = tempfile::tempdir().unwrap();
    let mut history = History::new(1, FaultRates::default(), root.path());
    history.open(None, None);
    for _ in 0..6 {
        history.train();
        history.objects.pass(SignedDuration::from_secs(1));
        history.check(root.path());
    }
    let mirrored = MirroredRun::open(&observer(&history.objects), "r1").unwrap();
    assert_eq!(mirrored.checkpoints().len(), history.saved.len());
    assert!(mirrored.broken().is_empty());
}
