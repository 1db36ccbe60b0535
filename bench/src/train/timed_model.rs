//! A model that notes when its steps begin, which is the same place in every training loop.

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use parking_lot::Mutex;

use crate::checkpoint::measurement::now;
use crate::measure::kernel_counters::processor_time;
use crate::program::Result;

use super::task::{Measured, Task};

/// A model with a clock.
#[derive(Module, Debug)]
pub(crate) struct Timed<M: Module> {
    model: M,
    #[module(skip)]
    clock: StepClock,
}

/// Counts steps, and notes the times of three of them.
#[derive(Debug, Clone)]
pub(crate) struct StepClock {
    device: Device,
    warm_up: usize,
    steps: usize,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    /// Steps that have begun.
    begun: usize,
    /// When the second one began, in seconds since 1970: the first was done.
    second: Option<f64>,
    /// When the first counted one began, and the processors' seconds until then.
    first_counted: Option<(Instant, f64)>,
    /// The same after the last counted one.
    end: Option<(f64, f64)>,
}

impl<M: Module> Timed<M> {
    /// The model with a clock, and the clock to read.
    pub(crate) fn new(model: M, task: &Task, device: &Device) -> (Self, StepClock) {
        let clock = StepClock {
            device: device.clone(),
            warm_up: task.warm_up.max(1),
            steps: task.steps,
            noted: Arc::default(),
        };
        (Self { model, clock: clock.clone() }, clock)
    }
}

impl StepClock {
    /// A step begins. Where a time is taken, the device first does what was given to it before.
    fn begin(&self) {
        let mut noted = self.noted.lock();
        let begun = noted.begun;
        noted.begun += 1;
        if begun == 1 || begun == self.warm_up || begun == self.warm_up + self.steps {
            // A device that cannot do it shows that in the loop.
            let _ = self.device.sync();
        }
        if begun == 1 {
            noted.second = Some(now());
        }
        if begun == self.warm_up {
            noted.first_counted = Some((Instant::now(), processor_time().unwrap_or_default()));
        }
        if begun == self.warm_up + self.steps
            && let Some((start, cpu)) = noted.first_counted
        {
            noted.end = Some((start.elapsed().as_secs_f64(), processor_time().unwrap_or_default() - cpu));
        }
    }

    /// Adds the times that a run took.
    ///
    /// # Errors
    ///
    /// When there were fewer steps.
    pub(crate) fn complete(&self, task: &Task, measured: Measured) -> Result<Measured> {
        let noted = self.noted.lock();
        let (Some(second), Some((seconds, cpu_seconds))) = (noted.second, noted.end) else {
            return Err(format!("the loop took {} steps", noted.begun).into());
        };
        Ok(Measured { first_step: second - task.started, seconds, cpu_seconds, ..measured })
    }
}

impl<M: Module + TrainStep> TrainStep for Timed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, batch: M::Input) -> TrainOutput<M::Output> {
        self.clock.begin();
        self.model.step(batch)
    }
}

impl<M: Module + InferenceStep> InferenceStep for Timed<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, batch: M::Input) -> M::Output {
        self.model.step(batch)
    }
}
