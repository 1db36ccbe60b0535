//! The lower bound of what a save costs the loop on a machine. The trainer trains without saves, while a
//! thread writes as many bytes as the state has and syncs them. No snapshot is taken and nothing is hashed.

use std::iter;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use burn::optim::AdamConfig;
use burn::train::Interrupter;
use burn_ckpt::plumbing::LAST_DIR;
use burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::config::WhenBusy;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::{CheckpointOutput, RunProgress, SaveDecision, Strategy, TrainingEvent};
use parking_lot::Mutex;

use crate::checkpoint::measurement::{Measurement, SaveTimes, WARM_UP, now};
use crate::checkpoint::task::Task;
use crate::program::Result;

use super::machine_limits::{CHUNK, noise, write};
use super::trainer::{APART, fit};

/// Trains, and writes as often as others save.
///
/// # Errors
///
/// Those of the trainer, and of writing.
pub fn train(task: &Task) -> Result<Measurement> {
    let interrupter = Interrupter::new();
    let plan = SharedPlan(Arc::new(Mutex::new(WritePlan {
        task: task.clone(),
        chunk: Arc::from(noise(CHUNK)),
        writing: None,
        // The first write is due some steps after the warm-up.
        free_since: WARM_UP as u64,
        written: Vec::new(),
        failure: None,
        interrupter: interrupter.clone(),
    })));
    let optimizer = AdamConfig::new().init_streamed();
    let (_, moments) = fit(task, optimizer, WhenBusy::Wait, interrupter, iter::once(plan.clone()))?;
    let mut plan = plan.0.lock();
    if let Some(failure) = plan.failure.take() {
        return Err(failure.into());
    }
    let saves = std::mem::take(&mut plan.written);
    Ok(Measurement {
        begins: moments.begins,
        saves,
        bytes: Some(task.case.state_bytes()),
        ..Measurement::default()
    })
}

struct WritePlan {
    task: Task,
    chunk: Arc<[u8]>,
    writing: Option<JoinHandle<std::io::Result<SaveTimes>>>,
    /// The step after which nothing was being written.
    free_since: u64,
    written: Vec<SaveTimes>,
    failure: Option<std::io::Error>,
    interrupter: Interrupter,
}

impl WritePlan {
    fn after_step(&mut self, step: u64) {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            self.free_since = step;
            match writing.join() {
                Ok(Ok(times)) => self.written.push(times),
                Ok(Err(failure)) => self.fail(failure),
                Err(_) => self.fail(std::io::Error::other("the thread that writes panicked")),
            }
        }
        if self.writing.is_some() || step - step.min(self.free_since) < APART {
            return;
        }
        if self.written.len() < self.task.saves {
            self.writing = Some(self.write());
        } else if step >= WARM_UP as u64 + APART + self.task.quiet_steps() {
            self.interrupter.stop(Some("everything is measured"));
        }
    }

    /// Starts to write a file, and deletes the file before once this one is durable, as a run that keeps one
    /// checkpoint does.
    fn write(&self) -> JoinHandle<std::io::Result<SaveTimes>> {
        let number = self.written.len();
        let file = |number: usize| self.task.dir.join(format!("bytes-{number}"));
        let (path, before) = (file(number), number.checked_sub(1).map(file));
        let (chunk, size) = (Arc::clone(&self.chunk), self.task.case.state_bytes() as usize);
        thread::spawn(move || {
            let asked = now();
            let whole = iter::repeat_n(&chunk[..], size / CHUNK);
            write(&path, whole.chain(iter::once(&chunk[..size % CHUNK])))?;
            let durable = now();
            before.map_or(Ok(()), std::fs::remove_file)?;
            Ok(SaveTimes { asked, returned: asked, durable })
        })
    }

    fn fail(&mut self, failure: std::io::Error) {
        self.failure = Some(failure);
        self.interrupter.stop(Some("writing failed"));
    }
}

#[derive(Clone)]
struct SharedPlan(Arc<Mutex<WritePlan>>);

/// Sees every step, and never saves.
impl Strategy for SharedPlan {
    fn name(&self) -> String {
        "plain write".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(LAST_DIR)
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        if matches!(event, TrainingEvent::StepEnd) {
            self.0.lock().after_step(progress.step);
        }
        SaveDecision::Skip
    }
}
