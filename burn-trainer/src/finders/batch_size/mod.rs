//! The largest batch that fits: steps with larger and larger batches, until the memory does not suffice.
//!
//! ```text
//! mod.rs            the settings, and the trials
//! search.rs         which size is next
//! steps.rs          the steps of one size
//! out_of_memory.rs  whether an error is a lack of memory
//! memory.rs         what a size uses, and what a larger one would use
//! memory_check.rs   whether that is above the limit
//! result.rs         the result
//! ```

mod memory;
mod memory_check;
mod out_of_memory;
mod result;
mod search;
mod steps;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::ModuleOptimizer;
use burn::train::{Learner, LearnerModel, TrainStep};
use burn_ckpt::plumbing::size as bytes;
use burn_environment::device_name;

use self::memory::{DEFAULT_PERCENT, Gauge};
use self::memory_check::MemoryCheck;
use self::search::Search;
use self::steps::Steps;
use crate::config::TrainLimits;
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::process::console::{note, warn};
use crate::process::last_panic;
use crate::training_loop::trial::Trial;

pub use result::{BatchFit, BatchSizeEnd, FoundBatchSize, TriedBatchSize};
pub use search::BatchSizeMode;

/// The rate of the steps. Their values are not used.
const LEARNING_RATE: f64 = 1e-8;

/// The settings of a search for the largest batch that fits, for
/// [`Trainer::find_batch_size`](crate::Trainer::find_batch_size).
///
/// Each size is tried with a few optimizer steps on a copy of the model.
///
/// ```
/// use burn_trainer::finders::{BatchSizeFinder, BatchSizeMode};
///
/// let finder = BatchSizeFinder::new().with_mode(BatchSizeMode::BinarySearch).with_memory_limit(8 << 30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchSizeFinder {
    /// How sizes are chosen: [`BatchSizeMode::Power`] by default.
    pub mode: BatchSizeMode,
    /// Optimizer steps with each size: 3 by default, and at least 2, as the state of the optimizer is made in
    /// the first.
    pub steps_per_trial: u64,
    /// The first size: 2 by default. If it does not fit, smaller ones are tried.
    pub init_size: usize,
    /// The most sizes that are tried: 25 by default.
    pub max_trials: usize,
    /// The largest size that is tried. By default the number of items, divided among the devices, and at
    /// least 1.
    pub max_size: Option<usize>,
    /// The memory limit of a search, in bytes. On a CPU it limits the memory of this process, and is 80 % of
    /// what the process can get by default. On a GPU it limits what burn's allocator holds, and by default
    /// there is no limit: sizes grow until the device has no memory left.
    pub memory_limit: Option<u64>,
    /// Batches of each device in an optimizer step, as `grads_accumulation` of burn's training: 1 by default.
    pub grads_accumulation: usize,
}

impl BatchSizeFinder {
    /// A finder with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mode: BatchSizeMode::Power,
            steps_per_trial: 3,
            init_size: 2,
            max_trials: 25,
            max_size: None,
            memory_limit: None,
            grads_accumulation: 1,
        }
    }

    /// Sets how sizes are chosen.
    #[must_use]
    pub fn with_mode(mut self, mode: BatchSizeMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the optimizer steps with each size.
    #[must_use]
    pub fn with_steps_per_trial(mut self, steps: u64) -> Self {
        self.steps_per_trial = steps;
        self
    }

    /// Sets the first size.
    #[must_use]
    pub fn with_init_size(mut self, items: usize) -> Self {
        self.init_size = items;
        self
    }

    /// Sets how many sizes are tried at most.
    #[must_use]
    pub fn with_max_trials(mut self, trials: usize) -> Self {
        self.max_trials = trials;
        self
    }

    /// Sets the largest size that is tried.
    #[must_use]
    pub fn with_max_size(mut self, items: usize) -> Self {
        self.max_size = Some(items);
        self
    }

    /// Sets the memory limit, in bytes: see [`memory_limit`](Self::memory_limit).
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets the batches of each device in an optimizer step.
    #[must_use]
    pub fn with_grads_accumulation(mut self, batches: usize) -> Self {
        self.grads_accumulation = batches;
        self
    }

    fn check(&self) -> Result<()> {
        let wrong = |setting: &str, reason: &str| Err(Error::config(setting, reason));
        match self {
            Self { steps_per_trial: 0 | 1, .. } => {
                wrong("steps_per_trial", "it must be at least 2: the first step makes the optimizer's state")
            }
            Self { init_size: 0, .. } => wrong("init_size", "it must be above 0"),
            Self { max_trials: 0, .. } => wrong("max_trials", "it must be above 0"),
            Self { max_size: Some(0), .. } => wrong("max_size", "it must be above 0"),
            Self { memory_limit: Some(0), .. } => wrong("memory_limit", "it must be above 0"),
            Self { grads_accumulation: 0, .. } => wrong("grads_accumulation", "it must be above 0"),
            _ => Ok(()),
        }
    }

    /// The most memory that a batch may use, with a line that says it.
    fn limit(&self, gauge: &Gauge, trial: &Trial) -> Result<Option<u64>> {
        let device = device_name(&trial.devices[0]);
        if let Gauge::Unknown { is_host } = gauge {
            if self.memory_limit.is_some() {
                return Err(Error::config(
                    "memory_limit",
                    format!("the memory of {device} cannot be measured"),
                ));
            }
            if *is_host && trial.reports {
                warn(
                    "the memory of this process is not known on this system: a batch that does not fit ends the process. max_size \
                     sets a limit",
                );
            }
        }
        if cfg!(panic = "abort") && !matches!(gauge, Gauge::Process) && trial.reports {
            warn("the program is built with panic = \"abort\": a batch that does not fit ends it");
        }
        let limit = self.memory_limit.or_else(|| gauge.default_limit());
        if let (Some(limit), Some(used)) = (limit, gauge.used())
            && used >= limit
        {
            return Err(self.nothing_left(limit, used));
        }
        let whose = match gauge {
            Gauge::Process => "this process",
            _ => &device,
        };
        say_in(
            trial,
            &match (limit, self.memory_limit) {
                (Some(limit), Some(_)) => {
                    format!("looking for the largest batch with {} for {whose}", bytes(limit))
                }
                (Some(limit), None) => format!(
                    "looking for the largest batch with {} for {whose}, {DEFAULT_PERCENT} % of what it can get",
                    bytes(limit)
                ),
                (None, _) => {
                    format!("looking for the largest batch, until the memory of {device} does not suffice")
                }
            },
        );
        Ok(limit)
    }

    /// The error for a limit that is reached before anything was tried.
    fn nothing_left(&self, limit: u64, used: u64) -> Error {
        let (limit, used) = (bytes(limit), bytes(used));
        if self.memory_limit.is_some() {
            let reason = format!("it is {limit}, and this process uses {used} before the first batch");
            return Error::config("memory_limit", reason);
        }
        let reason = format!(
            "this process uses {used} before the first batch, and {DEFAULT_PERCENT} % of what it can get is {limit}; \
             memory_limit sets another limit"
        );
        Error::NoBatchFits { batch_size: self.init_size, reason }
    }

    /// Tries sizes on copies of the model.
    pub(crate) fn run<M: LearnerModel>(
        &self,
        trial: Trial,
        mut loader: impl FnMut(usize) -> Result<Arc<dyn DataLoader<<M as TrainStep>::Input>>>,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<FoundBatchSize> {
        self.check()?;
        last_panic::note_messages();
        let trial = Trial { accumulation: self.grads_accumulation, ..trial };
        // The sizes are tried with the model's own weights, which need the same memory. Those of init_from
        // are only checked.
        drop(Trial { reports: false, ..trial.clone() }.first_weights(model)?);
        let gauge = Gauge::of(&trial.devices);
        let limit = self.limit(&gauge, &trial)?;
        let first = loader(self.init_size)?;
        let items = LoaderSize::of(&*first).map_or_else(|| first.num_items(), LoaderSize::items);
        drop(first);
        let items = match items {
            // A loader that knows no number says 0, as burn does.
            0 => usize::MAX,
            items => (items / trial.devices.len()).max(1),
        };
        let mut search =
            Search::new(self.mode, self.init_size, items.min(self.max_size.unwrap_or(usize::MAX)));
        let mut memory = MemoryCheck::new(&gauge, limit);
        let (mut tried, mut trials) = (Vec::new(), 0);
        while let Some(size) = search.next() {
            let expected = memory.expected(size);
            let outcome = if memory.is_above(expected) {
                TriedBatchSize::without_steps(size, BatchFit::NotTried, expected)
            } else if trials < self.max_trials {
                let mut steps = || self.attempt(&trial, &gauge, loader(size)?, size, (model, optimizer));
                if trials == 0 {
                    // Threads and kernels are started now, and not in the first measurement.
                    steps()?;
                }
                trials += 1;
                memory.checked(steps()?, expected)
            } else {
                break;
            };
            say_in(&trial, &outcome.to_string());
            search.record(size, outcome.fit == BatchFit::Fits);
            tried.push(outcome);
        }
        self.found(&search, tried, items, limit)
    }

    fn found(
        &self,
        search: &Search,
        tried: Vec<TriedBatchSize>,
        items: usize,
        memory_limit: Option<u64>,
    ) -> Result<FoundBatchSize> {
        let Some(batch_size) = search.fits() else {
            let smallest = tried.iter().min_by_key(|tried| tried.batch_size);
            let batch_size = smallest.map_or(self.init_size, |tried| tried.batch_size);
            let reason = smallest.and_then(TriedBatchSize::why_it_does_not_fit);
            let reason = reason.unwrap_or_else(|| "nothing was tried".to_owned());
            return Err(Error::NoBatchFits { batch_size, reason });
        };
        let end = match search.next() {
            Some(_) => BatchSizeEnd::MaxTrials,
            None if search.fails().is_some() => BatchSizeEnd::DoesNotFit,
            None if batch_size == items => BatchSizeEnd::AllItems,
            None => BatchSizeEnd::MaxSize,
        };
        Ok(FoundBatchSize { batch_size, tried, end, memory_limit })
    }

    /// The steps of one size.
    fn attempt<M: LearnerModel>(
        &self,
        trial: &Trial,
        gauge: &Gauge,
        loader: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        size: usize,
        (model, optimizer): (&M, &ModuleOptimizer),
    ) -> Result<TriedBatchSize> {
        let data = LoaderSize::of(&*loader);
        if let Some(other) = data.map(LoaderSize::batch_size).filter(|other| *other != size) {
            let reason = format!("the loader for batches of {size} items has batches of {other}");
            return Err(Error::config("batch_size", reason));
        }
        // A last batch that is smaller tells nothing.
        let full = data.map(|data| (data.items() / size).max(1) as u64);
        let trial = Trial { limits: TrainLimits::first(full), ..trial.clone() };
        last_panic::take_of_devices();
        let measurement = gauge.begin();
        let mut steps = Steps::new();
        let learner = Learner::new(trial.own_copy(model), optimizer.clone(), LEARNING_RATE);
        let ended = trial.run(learner, &loader, |outputs, learner| {
            let done =
                steps.add(outputs.len(), learner).map_err(|error| Error::evaluation("a step", error))?;
            if done + 1 == self.steps_per_trial {
                steps.saved = Some(learner.clone());
            }
            Ok(if done >= self.steps_per_trial { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        let Steps { batches, seconds, .. } = steps;
        let memory = measurement.end();
        drop(loader);
        memory::free(&trial.devices);
        if let Some(reason) = out_of_memory::reason(ended.as_ref().err(), &last_panic::take_of_devices()) {
            return Ok(TriedBatchSize::without_steps(size, BatchFit::OutOfMemory { reason }, memory));
        }
        ended?;
        let items_per_second = (seconds > 0.0).then(|| (batches * size) as f64 / seconds);
        Ok(TriedBatchSize {
            batch_size: size,
            fit: BatchFit::Fits,
            seconds: Some(seconds),
            items_per_second,
            memory,
        })
    }
}

fn say_in(trial: &Trial, line: &str) {
    if trial.reports {
        note(line);
    }
}

impl Default for BatchSizeFinder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let finder = BatchSizeFinder::new;
        for (wrong, setting) in [
            (finder().with_steps_per_trial(1), "steps_per_trial"),
            (finder().with_init_size(0), "init_size"),
            (finder().with_max_trials(0), "max_trials"),
            (finder().with_max_size(0), "max_size"),
            (finder().with_memory_limit(0), "memory_limit"),
            (finder().with_grads_accumulation(0), "grads_accumulation"),
        ] {
            let Error::Config { setting: named, .. } = wrong.check().unwrap_err() else { panic!() };
            assert_eq!(named, setting);
        }
        finder().check().unwrap();
    }
    #[test]
    fn a_limit_that_was_not_set_is_not_said_to_be_a_setting() {
        let set = BatchSizeFinder::new().with_memory_limit(1 << 20).nothing_left(1 << 20, 1 << 21);
        assert!(matches!(&set, Error::Config { setting, .. } if setting == "memory_limit"), "{set}");
        let derived = BatchSizeFinder::new().nothing_left(1 << 20, 1 << 21);
        assert!(matches!(derived, Error::NoBatchFits { batch_size: 2, .. }), "{derived}");
        assert!(derived.to_string().contains("80 % of what it can get is 1.0 MiB"), "{derived}");
    }
}
