//! What a test tells a training program to do: to wait or to panic at one of its batches, to hang when it is
//! stopped, to show its metrics.
//!
//! They are in an environment variable and not in the arguments, so that a command that resumes the run
//! does not repeat them, and no checkpoint contains them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{CheckpointOutput, RunProgress, SaveDecision, Strategy, TrainingEvent};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::models::small::StopOnceAt;

const VARIABLE: &str = "SYSTEM_TESTS_HOOKS";
const POLL: Duration = Duration::from_millis(1);
/// A program that waits for a test which is gone ends by itself.
const PATIENCE: Duration = Duration::from_secs(180);

static INTERRUPTER: OnceLock<Interrupter> = OnceLock::new();

/// What a program is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TestHooks {
    /// What to do at a batch, once.
    pub at_batch: Option<(Split, usize, Action)>,
    /// Never come back from the question what is to be saved when training is stopped; the directory gets a
    /// file `reached` then.
    pub hang_when_stopped: Option<PathBuf>,
    /// Stop training while this step is being saved.
    pub stop_in_save: Option<u64>,
    /// Print the metrics at the end, in every digit.
    pub show_metrics: bool,
    /// Train in burn's own loop.
    pub burns_loop: bool,
    /// Use burn's own data loader.
    pub burns_loader: bool,
    /// Have a metric that panics.
    pub panicking_metric: bool,
    /// In so many batches of training, print a line on standard output and one on standard error.
    pub prints: Option<usize>,
    /// Stop training in the first batch that is computed after a thread has come to the gate in this
    /// directory.
    pub stop_when_reached: Option<PathBuf>,
    /// By a signal to itself.
    pub stop_by_signal: bool,
    /// Wait at the gate in this directory when the run is open, before training.
    pub wait_before_training: Option<PathBuf>,
    /// Have a callback that ends the run at this step, and asks for it that one time.
    pub ends_at_step: Option<u64>,
}

/// Which batches are counted: from 1, over the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// Those of training.
    Train,
    /// Those of validation.
    Valid,
    /// Those that a data loader makes, for both.
    Load,
}

/// What is to be done at a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Action {
    /// Wait until the gate in this directory is opened.
    Wait(PathBuf),
    /// Panic.
    Panic,
    /// Stop training, as a program may do it by itself.
    Stop,
    /// Print a line, and exit with this status.
    Exit(i32),
    /// Fail as burn's dashboard does when a number of its drawing overflows.
    FailInDrawing,
}

impl TestHooks {
    /// To wait at a gate.
    #[must_use]
    pub fn wait(split: Split, batch: usize, gate: &Gate) -> Self {
        Self { at_batch: Some((split, batch, Action::Wait(gate.path().to_path_buf()))), ..Self::default() }
    }

    /// To panic at a batch.
    #[must_use]
    pub fn panic(split: Split, batch: usize) -> Self {
        Self { at_batch: Some((split, batch, Action::Panic)), ..Self::default() }
    }

    /// To fail in the dashboard's drawing at a batch.
    #[must_use]
    pub fn fail_in_drawing(split: Split, batch: usize) -> Self {
        Self { at_batch: Some((split, batch, Action::FailInDrawing)), ..Self::default() }
    }

    /// To stop training at a batch.
    #[must_use]
    pub fn stop(split: Split, batch: usize) -> Self {
        Self { at_batch: Some((split, batch, Action::Stop)), ..Self::default() }
    }

    /// The command, which does these things.
    ///
    /// # Panics
    ///
    /// When a path in them is not text.
    #[must_use]
    pub fn given_to(&self, mut command: Command) -> Command {
        let text = serde_json::to_string(self).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        command.env(VARIABLE, text);
        command
    }

    fn of_process() -> &'static Self {
        static HOOKS: OnceLock<TestHooks> = OnceLock::new();
        HOOKS.get_or_init(|| {
            let text = std::env::var(VARIABLE).ok();
            text.map(|text| serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")))
                .unwrap_or_default()
        })
    }
}

/// A place where a program waits until the test lets it continue.
#[derive(Debug)]
pub struct Gate(tempfile::TempDir);

impl Gate {
    /// A closed one.
    ///
    /// # Panics
    ///
    /// When there is no room for a directory.
    #[must_use]
    pub fn closed() -> Self {
        Self(tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}")))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Whether the program has come to it.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.path().join("reached").exists()
    }

    /// Lets the program continue.
    ///
    /// # Panics
    ///
    /// When its directory is gone.
    pub fn open(&self) {
        touch(&self.path().join("open"));
    }
}

/// To be called by the program at every batch.
///
/// # Panics
///
/// Where they say so, or when the gate is not opened.
pub fn at_batch(split: Split) {
    static COUNTS: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
    let count = COUNTS[split as usize].fetch_add(1, Ordering::SeqCst) + 1;
    let hooks = TestHooks::of_process();
    if let (Split::Train, Some(gate)) = (split, &hooks.stop_when_reached) {
        // The worker is not waited for: it gets there while the batches before are trained on.
        let since = Instant::now();
        while count == 5 && !gate.join("reached").exists() {
            assert!(since.elapsed() < PATIENCE, "no thread came to the gate");
            std::thread::sleep(POLL);
        }
        if gate.join("reached").exists() {
            stop();
        }
    }
    if split == Split::Train && hooks.prints.is_some_and(|batches| count <= batches) {
        println!("batch {count} on standard output");
        eprintln!("batch {count} on standard error");
    }
    match &hooks.at_batch {
        Some((at, batch, action)) if (*at, *batch) == (split, count) => match action {
            Action::Wait(gate) => wait_at(gate),
            Action::Exit(status) => {
                println!("the batch {batch} was told to exit");
                std::process::exit(*status);
            }
            Action::Panic => panic!("the batch {batch} was told to panic"),
            Action::FailInDrawing => {
                let drawing = std::thread::Builder::new().name("train-renderer".to_owned());
                let failed = drawing.spawn(|| panic!("attempt to subtract with overflow"));
                let _ = failed.map(std::thread::JoinHandle::join);
            }
            Action::Stop => stop(),
        },
        _ => {}
    }
}

/// To be called by the program when the run is open, before training.
///
/// # Panics
///
/// When a gate there is not opened.
pub fn before_training(interrupter: Interrupter) {
    let _ = INTERRUPTER.set(interrupter);
    if let Some(gate) = &TestHooks::of_process().wait_before_training {
        wait_at(gate);
    }
}

fn stop() {
    let interrupter = INTERRUPTER.get().unwrap_or_else(|| panic!("no training"));
    if !TestHooks::of_process().stop_by_signal {
        return interrupter.stop(Some("enough is enough"));
    }
    let status = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill");
    let since = Instant::now();
    while !interrupter.should_stop() {
        assert!(since.elapsed() < PATIENCE, "the signal did not come");
        std::thread::sleep(POLL);
    }
}

fn wait_at(gate: &Path) {
    touch(&gate.join("reached"));
    let since = Instant::now();
    while !gate.join("open").exists() {
        assert!(since.elapsed() < PATIENCE, "the gate was not opened");
        std::thread::sleep(POLL);
    }
}

/// Whether the program is told to have a metric that panics.
#[must_use]
pub fn has_panicking_metric() -> bool {
    TestHooks::of_process().panicking_metric
}

/// Whether the program is told to use burn's own data loader.
#[must_use]
pub fn is_burns_loader() -> bool {
    TestHooks::of_process().burns_loader
}

/// The callback that ends the run, where the program is told to have it.
#[must_use]
pub fn ends_at_step() -> Option<StopOnceAt> {
    TestHooks::of_process().ends_at_step.map(StopOnceAt)
}

/// Whether the program is told to train in burn's own loop.
#[must_use]
pub fn is_burns_loop() -> bool {
    TestHooks::of_process().burns_loop
}

/// The strategy that hangs or stops, where the program is told to have it.
#[must_use]
pub fn strategy() -> Option<impl Strategy> {
    let hooks = TestHooks::of_process();
    let is_told = hooks.hang_when_stopped.is_some() || hooks.stop_in_save.is_some();
    is_told.then_some(Hooked(hooks))
}

/// Prints metrics, where the program is told to: Rust writes a number so that it is read back as the same.
pub fn show(metrics: &IndexMap<String, f64>) {
    if TestHooks::of_process().show_metrics {
        println!("metrics: {metrics:?}");
    }
}

struct Hooked(&'static TestHooks);

impl Strategy for Hooked {
    fn name(&self) -> String {
        "hooked".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new("hooked")
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        match (event, &self.0.hang_when_stopped) {
            (TrainingEvent::Interrupted(_), Some(gate)) => {
                touch(&gate.join("reached"));
                std::thread::sleep(PATIENCE);
            }
            (TrainingEvent::StepEnd, _) if Some(progress.step) == self.0.stop_in_save => stop(),
            _ => {}
        }
        SaveDecision::Skip
    }
}

fn touch(path: &Path) {
    std::fs::write(path, "").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
