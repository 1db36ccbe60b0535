//! A loop that saves faster than the disk writes: one state is written, few wait, and the rest is by rule.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use burn_ckpt::Section;
use burn_ckpt::plumbing::{
    CheckpointWriter, Ledger, Reservation, RunDescription, SaveRequest, Submitted, WouldKeep, WriterEnd,
};
use burn_ckpt::retention::{KeepRule, MetricMode, TopK};
use burn_trainer::TrainerConfig;
use burn_trainer::config::WhenBusy;
use burn_trainer::strategy::{Last, StrategyConfig};
use jiff::Timestamp;
use system_tests::models::small::{OnStep, Script};
use system_tests::run_files::{checkpoints, stems};
use system_tests::saves_by_hand::save_request;
use system_tests::{config, train_scripted};

/// A run with a strategy `last` and a strategy `best` (lower is better), whose disk is as slow as the test
/// wants.
struct Run {
    writer: CheckpointWriter,
    directory: PathBuf,
    /// Lets one save continue.
    let_continue: Sender<()>,
    disk: Option<Receiver<()>>,
    /// Told of a step when it is being written.
    begun: (Sender<u64>, Receiver<u64>),
}

impl Run {
    /// Whose first save, that of step 0, is being written already and hangs.
    fn busy(directory: &Path, max_waiting: usize, topk: usize) -> Self {
        let mut ledger = Ledger::default();
        let topk = TopK::Count(topk);
        ledger.register("last", KeepRule::Newest(topk), None, []);
        ledger.register("best", KeepRule::Best(MetricMode::Min, topk), None, []);
        let description = RunDescription::new("r1", Timestamp::now());
        let writer = CheckpointWriter::start(description, ledger, max_waiting).unwrap();
        let (let_continue, disk) = mpsc::channel();
        let mut run = Self {
            writer,
            directory: directory.to_path_buf(),
            let_continue,
            disk: Some(disk),
            begun: mpsc::channel(),
        };
        let disk = run.disk.take().unwrap();
        let first = run.state(0, &[("last", f64::NAN)], move || disk.iter().take(1).for_each(drop));
        assert_eq!(run.writer.submit(vec![first], WhenBusy::Wait).unwrap(), Submitted::Accepted);
        assert_eq!(run.begun.1.recv(), Ok(0));
        run
    }

    /// The state of a step that strategies want, with their scores.
    fn state(&self, step: u64, wanted: &[(&str, f64)], hangs: impl FnOnce() + Send + 'static) -> SaveRequest {
        let wish = |(strategy, score): &(&str, f64)| Reservation {
            strategy: (*strategy).to_owned(),
            directory: self.directory.join(strategy),
            stem: step.to_string(),
            step,
            score: *score,
        };
        let wishes: Vec<Reservation> = wanted.iter().map(wish).collect();
        let places = self.writer.ledger().lock().reserve(&wishes);
        let begun = self.begun.0.clone();
        let places = places.into_iter().map(|path| (path, "test".to_owned())).collect();
        save_request(step, places, move || {
            begun.send(step).unwrap();
            hangs();
            Section::default()
        })
    }

    fn submit(&self, step: u64, wanted: &[(&str, f64)], when_busy: WhenBusy) -> Submitted {
        let save = self.state(step, wanted, || ());
        // A wait without an end is not waited for.
        let mut asked = 0;
        let waits = || {
            asked += 1;
            when_busy != WhenBusy::Skip && asked < 3
        };
        self.writer.submit_while(vec![save], when_busy, waits).unwrap()
    }

    /// Submits a state of the strategy `best` whose save fails, if it is told to.
    fn submit_best(&self, step: u64, score: f64, fails: bool) -> Submitted {
        let mut save = self.state(step, &[("best", score)], || ());
        if fails {
            save.sections = Box::new(|| panic!("the device is gone"));
        }
        self.writer.submit(vec![save], WhenBusy::Wait).unwrap()
    }

    /// A state that the strategy `best` wants only if better ones fail.
    fn submit_conditional(&self, step: u64, score: f64) -> Submitted {
        let mut save = self.state(step, &[("best", score)], || ());
        save.conditional = true;
        self.writer.submit_while(vec![save], WhenBusy::Wait, || false).unwrap()
    }

    /// Lets the disk continue, and returns what is there in the end.
    fn end(self) -> (Vec<String>, Vec<String>) {
        self.end_with(0)
    }

    /// The same, with so many saves that fail.
    fn end_with(self, failures: usize) -> (Vec<String>, Vec<String>) {
        drop(self.let_continue);
        let WriterEnd { reports, is_complete: finished, .. } = self.writer.finish(None);
        let failed = reports.iter().filter(|report| report.outcome.is_err()).count();
        assert!(finished && failed == failures, "{reports:?}");
        let in_order: Vec<u64> = reports.iter().map(|report| report.global_step).collect();
        assert!(in_order.is_sorted(), "{in_order:?}");
        let stems_of = |keeper: &str| {
            let directory = self.directory.join(keeper);
            if directory.is_dir() { stems(&directory) } else { Vec::new() }
        };
        (stems_of("last"), stems_of("best"))
    }
}

#[test]
fn no_more_states_are_held_than_one_and_those_that_may_wait() {
    for max_waiting in [0, 1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let run = Run::busy(directory.path(), max_waiting, 9);
        for step in 1..=max_waiting as u64 {
            assert_eq!(run.submit(step, &[("last", f64::NAN)], WhenBusy::Skip), Submitted::Accepted);
        }
        assert_eq!(run.submit(8, &[("last", f64::NAN)], WhenBusy::Skip), Submitted::Skipped);
        assert_eq!(run.submit(9, &[("last", f64::NAN)], WhenBusy::Wait), Submitted::Skipped, "after waiting");
        let expected: Vec<String> = (0..=max_waiting).map(|step| step.to_string()).collect();
        assert_eq!(run.end().0, expected);
    }
}

#[test]
fn a_newer_state_replaces_the_one_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::busy(directory.path(), 1, 9);
    let wanted = [("last", f64::NAN)];
    assert_eq!(run.submit(1, &wanted, WhenBusy::Replace), Submitted::Accepted);
    assert_eq!(run.submit(2, &wanted, WhenBusy::Replace), Submitted::Replaced(1));
    assert_eq!(run.submit(3, &wanted, WhenBusy::Replace), Submitted::Replaced(2));
    assert_eq!(run.end().0, ["0", "3"]);
}

#[test]
fn the_best_state_is_not_given_up_for_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::busy(directory.path(), 1, 9);
    let (last, both) = ([("last", f64::NAN)], [("last", f64::NAN), ("best", 0.5)]);
    assert_eq!(run.submit(1, &both, WhenBusy::Replace), Submitted::Accepted);
    assert_eq!(run.submit(2, &last, WhenBusy::Replace), Submitted::Skipped, "best does not want it");
    let worse = [("last", f64::NAN), ("best", 0.7)];
    assert_eq!(
        run.submit(3, &worse, WhenBusy::Replace),
        Submitted::Skipped,
        "it is among the best, but worse"
    );
    let no_number = [("last", f64::NAN), ("best", f64::NAN)];
    assert_eq!(run.submit(4, &no_number, WhenBusy::Replace), Submitted::Skipped);
    let better = [("last", f64::NAN), ("best", 0.3)];
    assert_eq!(run.submit(5, &better, WhenBusy::Replace), Submitted::Replaced(1));
    let (last, best) = run.end();
    assert_eq!((last, best), (vec!["0".to_owned(), "5".to_owned()], vec!["5".to_owned()]));
}

#[test]
fn a_save_that_fails_late_does_not_keep_away_the_best_of_those_that_came_meanwhile() {
    for (fails, best) in [(false, "1"), (true, "2")] {
        let directory = tempfile::tempdir().unwrap();
        let run = Run::busy(directory.path(), 2, 1);
        assert_eq!(run.submit_best(1, 0.1, fails), Submitted::Accepted);
        assert_eq!(run.writer.ledger().lock().would_keep("best", 2, 0.2), WouldKeep::UnlessOthersAreSaved);
        assert_eq!(run.submit_conditional(2, 0.2), Submitted::Accepted);
        assert_eq!(run.end_with(usize::from(fails)).1, [best]);
    }
}

#[test]
fn a_state_that_is_wanted_only_if_others_fail_takes_no_other_ones_place_and_never_waits() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::busy(directory.path(), 2, 1);
    assert_eq!(run.submit_best(1, 0.1, false), Submitted::Accepted);
    assert_eq!(run.submit_conditional(2, 0.2), Submitted::Accepted);
    assert_eq!(run.submit(3, &[("last", f64::NAN)], WhenBusy::Skip), Submitted::Accepted);
    assert_eq!(run.submit_conditional(4, 0.2), Submitted::Skipped);
    let (last, best) = run.end();
    assert_eq!((last, best), (vec!["3".to_owned()], vec!["1".to_owned()]));
}

#[test]
fn a_run_says_how_many_saves_it_replaced_and_ends_with_the_newest_state_on_disk() {
    let root = tempfile::tempdir().unwrap();
    let (let_continue, disk) = mpsc::channel::<()>();
    let (let_continue, disk) = (Mutex::new(Some(let_continue)), Mutex::new(disk));
    // The first save hangs until step 10, the last one.
    let hangs = OnStep(Arc::new(move || disk.lock().unwrap().iter().for_each(drop)));
    let continues = OnStep(Arc::new(move || drop(let_continue.lock().unwrap().take())));
    let script = Script { on_save: Some(hangs), at_step: Some((10, continues)), ..Script::default() };
    let every_step = Last::new().with_every_n_steps(1).with_topk(TopK::All);
    let config = config(root.path(), 1)
        .with_when_busy(WhenBusy::Replace)
        .with_strategies([StrategyConfig::Last(every_step)]);
    let result = train_scripted(config, script).unwrap();
    // Steps 2 to 8 went for the one after each; whether 9 went for 10 is the disk's to say.
    assert!(result.replaced_saves >= 7, "{}", result.replaced_saves);
    assert_eq!(result.saves + result.replaced_saves, 10);
    assert_eq!((result.skipped_saves, result.last_save_failed), (0, false));
    let there = stems(&checkpoints(root.path()).join("last"));
    assert_eq!(there.len() as u64, result.saves, "{there:?}");
    assert!(there.contains(&"epoch=0-step=1".to_owned()) && there.contains(&"epoch=0-step=10".to_owned()));
}

/// The niceness of this thread, from -20 to 19.
#[cfg(target_os = "linux")]
fn niceness() -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The fields after the name, which is in parentheses; the first of them is the third of all.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_state_is_read_at_the_priority_of_the_loop_also_of_a_save_that_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::busy(directory.path(), 1, 100);
    let (noted, by_step) = mpsc::channel();
    let submit = |step: u64, waits: bool| {
        let noted = noted.clone();
        let last = [("last", f64::NAN)];
        let save = run.state(step, &last, move || noted.send((step, niceness())).unwrap());
        let mut asked = 0;
        let waits = || {
            asked += 1;
            waits && asked < 3
        };
        run.writer.submit_while(vec![save], WhenBusy::Wait, waits).unwrap()
    };
    assert_eq!(submit(1, false), Submitted::Accepted);
    assert_eq!(submit(2, true), Submitted::Skipped, "it has waited");
    run.let_continue.send(()).unwrap();
    assert_eq!(by_step.recv(), Ok((1, niceness())));
    while !run.writer.activity().is_idle() {
        std::thread::yield_now();
    }
    assert_eq!(submit(3, false), Submitted::Accepted);
    assert_eq!(by_step.recv(), Ok((3, niceness())));
    let (last, _) = run.end();
    assert_eq!(last, ["0", "1", "3"]);
}

/// How long the first save hangs once the last step is done: a run that would skip its last state has done so
/// by then.
const HANGS_ON: Duration = Duration::from_millis(300);

/// Trains for so many steps, of which each is saved, or skipped where the loop would wait: the first save
/// hangs beyond the last step. Returns how many were saved and skipped, and the newest state on disk.
fn skipping(steps: usize, config: TrainerConfig) -> (u64, u64, Option<String>) {
    let (let_continue, disk) = mpsc::channel::<()>();
    let (let_continue, disk) = (Mutex::new(Some(let_continue)), Mutex::new(disk));
    let hangs = OnStep(Arc::new(move || disk.lock().unwrap().iter().for_each(drop)));
    let continues = OnStep(Arc::new(move || {
        let let_continue = let_continue.lock().unwrap().take();
        std::thread::spawn(move || {
            std::thread::sleep(HANGS_ON);
            drop(let_continue);
        });
    }));
    let script = Script { on_save: Some(hangs), at_step: Some((steps, continues)), ..Script::default() };
    let directory = checkpoints(&config.root).join("last");
    let every_step = Last::new().with_every_n_steps(1).with_topk(TopK::All);
    let config = config.with_when_busy(WhenBusy::Skip).with_strategies([StrategyConfig::Last(every_step)]);
    let result = train_scripted(config, script).unwrap();
    let step = |stem: &String| stem.split("step=").nth(1).and_then(|step| step.parse::<u64>().ok());
    let newest = stems(&directory).into_iter().max_by_key(step);
    (result.saves, result.skipped_saves, newest)
}

#[test]
fn a_run_that_skips_saves_ends_with_its_last_state_on_disk() {
    let root = tempfile::tempdir().unwrap();
    let (saves, skipped, newest) = skipping(10, config(root.path(), 1));
    assert_eq!(newest.as_deref(), Some("epoch=0-step=10"));
    assert!(skipped >= 7, "{skipped}");
    assert_eq!(saves + skipped, 10);
}

#[test]
fn so_does_one_that_its_limit_ends_within_an_epoch() {
    let root = tempfile::tempdir().unwrap();
    let (saves, skipped, newest) = skipping(8, config(root.path(), 2).with_max_steps(8));
    assert_eq!(newest.as_deref(), Some("epoch=0-step=8"));
    assert_eq!(saves + skipped, 8);
}
