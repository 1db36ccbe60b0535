//! The values of an optimizer step that tell whether it is finite, and reading them without a wait of the
//! loop.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use burn::tensor::{FloatDType, Tensor};

use crate::error::CallbackResult;

/// The losses of an optimizer step's batches, and the norm of its gradients, on the device.
#[derive(Debug, Clone)]
pub(super) struct WatchedStep {
    pub(super) place: StepPlace,
    /// The losses in the order of the batches, then the norm, if there are any.
    values: Tensor<1>,
}

/// Which step it is, and what its values are.
#[derive(Debug, Clone)]
pub(super) struct StepPlace {
    /// Counted from 1.
    pub(super) step: u64,
    /// Its batches in the epoch, counted from 1.
    pub(super) batches: RangeInclusive<u64>,
    /// The batches whose losses are among the values.
    losses: Vec<u64>,
}

impl WatchedStep {
    /// `None` if there is nothing to look at.
    pub(super) fn new(
        step: u64,
        batches: RangeInclusive<u64>,
        losses: Vec<(u64, Tensor<1>)>,
        norm: Option<Tensor<1>>,
    ) -> Option<Self> {
        let (numbers, losses): (Vec<u64>, Vec<Tensor<1>>) = losses.into_iter().unzip();
        let device = norm.iter().chain(&losses).map(Tensor::device).next()?;
        let on_device = |value: Tensor<1>| value.to_device(&device).cast(FloatDType::F32);
        let values = losses.into_iter().chain(norm).map(on_device).collect();
        let place = StepPlace { step, batches, losses: numbers };
        Some(Self { place, values: Tensor::cat(values, 0) })
    }

    /// Reads the values, which waits for the device. Returns what is not finite.
    pub(super) fn read(self) -> CallbackResult<Option<String>> {
        let Self { place, values } = self;
        let read = values.try_into_data().map_err(|error| place.unreadable(&error))?;
        Ok(place.not_finite(&read.iter::<f64>().collect::<Vec<_>>()))
    }
}

impl StepPlace {
    /// What is not finite, in words: the first loss, which is the cause of what follows, or else the norm.
    fn not_finite(&self, values: &[f64]) -> Option<String> {
        let position = values.iter().position(|value| !value.is_finite())?;
        let (value, step) = (values[position], self.step);
        let (first, last) = (self.batches.start(), self.batches.end());
        let of_step = format!("of step {step} (batches {first} to {last} of the epoch)");
        Some(match self.losses.get(position) {
            Some(batch) => format!("the loss of batch {batch} {of_step} is {value}"),
            None => format!("the norm of the gradients {of_step} is {value}"),
        })
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> String {
        format!("the loss and the gradients of step {} cannot be read from the device: {error}", self.step)
    }
}

/// Reads the values of steps on a thread of its own, in the order of the steps.
#[derive(Debug)]
pub(super) struct LateReader {
    to_read: Sender<WatchedStep>,
    read: Receiver<ReadStep>,
    /// What is not read yet. A second owner here keeps burn from releasing a tensor while the thread asks for
    /// it.
    waiting: VecDeque<WatchedStep>,
}

/// What is not finite in a step, or why it could not be read.
type ReadStep = Result<Option<String>, String>;

impl LateReader {
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start() -> CallbackResult<Self> {
        let ((to_read, steps), (done, read)) = (channel::<WatchedStep>(), channel());
        let work = move || {
            for step in steps {
                // After an error the rest is not waited for.
                if done.send(step.read().map_err(|error| error.to_string())).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("burn-trainer-guard".to_owned()).spawn(work)?;
        Ok(Self { to_read, read, waiting: VecDeque::new() })
    }

    /// Has the values of a step read.
    ///
    /// # Errors
    ///
    /// When the thread has ended.
    pub(super) fn add(&mut self, step: WatchedStep) -> CallbackResult {
        self.waiting.push_back(step.clone());
        self.to_read.send(step).map_err(|_| ended().into())
    }

    /// Whether there are steps that are not read yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What the first of the steps that are read by now has that is not finite. Does not wait.
    ///
    /// # Errors
    ///
    /// When a value cannot be read.
    pub(super) fn found(&mut self) -> CallbackResult<Option<String>> {
        while let Ok(read) = self.read.try_recv() {
            self.waiting.pop_front();
            if let Some(found) = read? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The same of all steps. Waits until they are read.
    ///
    /// # Errors
    ///
    /// As for [`found`](Self::found).
    pub(super) fn found_in_all(&mut self) -> CallbackResult<Option<String>> {
        while self.waiting.pop_front().is_some() {
            if let Some(found) = self.read.recv().map_err(|_| ended())?? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn ended() -> String {
    "the thread that reads the norm of the gradients has ended".to_owned()
}
