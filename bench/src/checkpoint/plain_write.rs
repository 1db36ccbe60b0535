//! The least that any save costs the loop on a machine: it trains as in our contenders, and beside it a thread writes as many bytes as
//! the state has, and syncs them. Nothing is read, hashed or kept for it.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use burn::optim::AdamConfig;
use burn::train::Interrupter;
use burn_ckpt::plumbing::{LAST_DIR, WhenBusy};
use burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::{CheckpointOutput, RunProgress, SaveDecision, Strategy, TrainingEvent};

use crate::program::Result;

use super::child::Task;
use super::limits::{CHUNK, noise, write};
use super::measured::{Measured, SaveTimes, WARM_UP, now};
use super::ours::{APART, fit};

/// Trains, and writes as often as others save.
///
/// # Errors
///
/// Those of the trainer, and what the disk refuses.
pub fn train(task: &Task) -> Result<Measured> {
    let interrupter = Interrupter::new();
    let plan = Shared(Arc::new(Mutex::new(Plan {
        task: task.clone(),
        chunk: Arc::from(noise(CHUNK)),
        writing: None,
        // The first is due some steps after those that are not counted.
        free_since: WARM_UP as u64,
        written: Vec::new(),
        failure: None,
        interrupter: interrupter.clone(),
    })));
    let optimizer = AdamConfig::new().init_streamed();
    let (_, moments) = fit(task, optimizer, WhenBusy::Wait, interrupter, iter::once(plan.clone()))?;
    let mut plan = plan.lock();
    if let Some(failure) = plan.failure.take() {
        return Err(failure.into());
    }
    let saves = std::mem::take(&mut plan.written);
    Ok(Measured {
        begins: moments.begins,
        saves,
        bytes: Some(task.case.state_bytes()),
        ..Measured::default()
    })
}

struct Plan {
    task: Task,
    chunk: Arc<[u8]>,
    writing: Option<JoinHandle<std::io::Result<SaveTimes>>>,
    /// The step after which nothing was being written.
    free_since: u64,
    written: Vec<SaveTimes>,
    failure: Option<std::io::Error>,
    interrupter: Interrupter,
}

impl Plan {
    fn after(&mut self, step: u64) {
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

    /// Begins to write a file, and removes the one before when it is durable, as a run that keeps one checkpoint does.
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
        self.interrupter.stop(Some("the disk refused"));
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Plan>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees every step, and never saves.
impl Strategy for Shared {
    fn name(&self) -> String {
        "plain write".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput { directory: LAST_DIR.into(), filename: None, link: None, weights_only: false }
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, facts: &RunProgress<'_>) -> SaveDecision {
        if matches!(event, TrainingEvent::StepEnd) {
            self.lock().after(facts.step);
        }
        SaveDecision::Skip
    }
}
