//! The end of a run from outside of its loop: the save, what is printed, the requeued job, the exit status.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::Duration;

use parking_lot::Mutex;

use super::resume_command;
use super::save_from_outside::{SaveFromOutside, SavedFromOutside};
use crate::config::{FailedSaves, TrainerConfig};
use crate::process::console::say;
use crate::process::launcher::requeue_after;
use crate::process::progress::figures::span;
use crate::process::signals::{EndFromOutside, StopSignal};
use crate::process::temporary_root;
use crate::saving::run_checkpoints;

/// The exit status when the newest state is not on disk.
const FAILED: u8 = 1;
/// How much longer than its limit a save may take, so that it can say itself what went wrong.
const MARGIN: Duration = Duration::from_millis(500);

/// Ends a run from outside.
pub(crate) struct EndOfRun {
    config: Mutex<TrainerConfig>,
    /// `None` before training.
    training: Mutex<Option<Arc<dyn SaveFromOutside>>>,
}

impl EndOfRun {
    pub(crate) fn new(config: TrainerConfig) -> Arc<Self> {
        Arc::new(Self { config: Mutex::new(config), training: Mutex::new(None) })
    }

    /// The configuration with the run's id.
    pub(crate) fn set_config(&self, config: TrainerConfig) {
        *self.config.lock() = config;
    }

    /// Training starts.
    pub(crate) fn set_training(&self, training: Arc<dyn SaveFromOutside>) {
        *self.training.lock() = Some(training);
    }

    fn training(&self) -> Option<Arc<dyn SaveFromOutside>> {
        self.training.lock().clone()
    }
}

impl EndFromOutside for EndOfRun {
    fn is_computing(&self) -> bool {
        self.training().is_some_and(|training| training.is_busy())
    }

    fn end(&self, signal: StopSignal, limit: Duration) -> u8 {
        let config = self.config.lock().clone();
        let saved = match self.training() {
            Some(training) => save_within(training, signal, limit),
            None => SavedFromOutside::NoUpdate,
        };
        report(&config, signal, &saved);
        match saved {
            SavedFromOutside::Failed(_) if config.failed_saves != FailedSaves::Ignore => FAILED,
            _ => signal.exit_status(),
        }
    }

    fn end_saved(&self, signal: StopSignal) -> u8 {
        report(&self.config.lock().clone(), signal, &SavedFromOutside::ByTheLoop);
        signal.exit_status()
    }
}

/// Saves on another thread: a device that is read there, or a strategy of the program, can hang.
fn save_within(training: Arc<dyn SaveFromOutside>, signal: StopSignal, limit: Duration) -> SavedFromOutside {
    let (done, saved) = channel();
    let save = move || {
        let _ = done.send(training.save(signal.name(), limit));
    };
    if let Err(error) = Builder::new().name("burn-trainer-save".to_owned()).spawn(save) {
        return SavedFromOutside::Failed(format!("the system gives no thread: {error}"));
    }
    let failed = |_| {
        SavedFromOutside::Failed(format!(
            "a device or a strategy does not answer in {}",
            span(limit.as_secs_f64())
        ))
    };
    saved.recv_timeout(limit.saturating_add(MARGIN)).unwrap_or_else(failed)
}

/// Says why the process ends, on standard error, prints the command that resumes the run, and requeues the
/// job, as the end of training and `cli::print_result` would.
fn report(config: &TrainerConfig, signal: StopSignal, saved: &SavedFromOutside) {
    if !config.writes() {
        // The process of rank 0 says it.
        return;
    }
    let name = signal.name();
    if config.fast_dev_run {
        say(&format!("fast_dev_run did not end by itself after {name}"));
        temporary_root::remove(&config.root);
        return;
    }
    let state = match saved {
        _ if !config.checkpoint_saving => "saving is off".to_owned(),
        SavedFromOutside::NoUpdate => "no optimizer step was done, so there is nothing to save".to_owned(),
        SavedFromOutside::ByTheLoop => "the state is saved".to_owned(),
        SavedFromOutside::LastEpoch => "the last epoch that was saved stands".to_owned(),
        SavedFromOutside::Step(step) => format!("the state of step {step} is saved"),
        SavedFromOutside::Done(step) => format!("the run is done, and the state of step {step} is saved"),
        SavedFromOutside::Failed(reason) => format!("the newest state is not on disk: {reason}"),
    };
    say(&format!(
        "training did not end by itself after {name}: {state}; threads that still work (a step, a data loader's worker) are \
         left behind"
    ));
    if matches!(saved, SavedFromOutside::Done(_)) {
        return;
    }
    say(&format!("stopped before the last epoch: {name}"));
    if run_checkpoints::newest_resumable(config).is_some() {
        let line = resume_command::line(config, config.max_epochs);
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    if config.slurm_requeue
        && let Some(job) = requeue_after(signal)
    {
        say(&format!("the Slurm job {job} is requeued"));
    }
}
