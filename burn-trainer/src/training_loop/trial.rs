//! Optimizer steps outside of a run: a copy of a learner trains as the loop does, and nothing of it is kept.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn::train::{Learner, LearnerModel, MultiDeviceOptim, TrainStep, TrainingError};
use burn_ckpt::plumbing::{non_finite_tensors, panic_message};

use super::parts::epoch_batches::EpochData;
use super::parts::multi_device::{DeviceSettings, StepGradients, TrainingDevices};
use super::parts::run_limits::UsedBatches;
use super::parts::seeding::{SeededPart, seed_device};
use crate::config::{InitFrom, TrainLimits, TrainerConfig};
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::learner_state::{recomputation, warm_start};
use crate::state::position::Position;

/// How the steps are done.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) devices: Vec<Device>,
    pub(crate) optim: MultiDeviceOptim,
    /// Whether activations are computed again in the backward pass.
    pub(crate) recomputes: bool,
    pub(crate) seed: u64,
    /// Batches of each device in an optimizer step.
    pub(crate) accumulation: usize,
    /// The batches of an epoch that are used.
    pub(crate) limits: TrainLimits,
    /// The weights that a new run begins with, if they are not the model's own.
    pub(crate) init_from: Option<InitFrom>,
    /// Whether this process says what it does: that of rank 0.
    pub(crate) reports: bool,
}

impl Trial {
    /// Steps as those of a run with these settings. Each has a batch of each device.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for devices that cannot be used together.
    pub(crate) fn new<M: LearnerModel>(
        config: &TrainerConfig,
        devices: &DeviceSettings,
        model: &M,
    ) -> Result<Self> {
        Ok(Self {
            devices: devices.of_run(model)?,
            optim: devices.optim,
            recomputes: config.gradient_checkpointing || recomputation::recomputes(model, false)?,
            seed: config.seed,
            accumulation: 1,
            limits: config.train_limits(),
            init_from: config.init_from.clone(),
            reports: config.writes(),
        })
    }

    /// A copy of a model that shares no running statistics with it: a clone would change them.
    pub(crate) fn own_copy<M: LearnerModel>(&self, model: &M) -> M {
        let copy = model.valid().train();
        if self.recomputes { recomputation::recomputing(copy) } else { copy }
    }

    /// A copy of a model with the weights that a new run begins with.
    ///
    /// # Errors
    ///
    /// As of the run, for weights that cannot be read or do not fit.
    pub(crate) fn first_weights<M: LearnerModel>(&self, model: &M) -> Result<M> {
        let own = self.own_copy(model);
        match &self.init_from {
            Some(init_from) => {
                let as_built = self.reports.then(|| non_finite_tensors(&own.valid())).transpose()?;
                warm_start::loaded(own, init_from, as_built.as_deref())
            }
            None => Ok(own),
        }
    }

    /// Trains, epoch after epoch, until `each` breaks. It gets the outputs of a step's batches, and the
    /// learner after the optimizer step.
    ///
    /// # Errors
    ///
    /// [`Error::NoBatch`], [`Error::Training`] with the error of the loader, [`Error::Panicked`], and what
    /// `each` returns.
    pub(crate) fn run<M: LearnerModel>(
        &self,
        learner: Learner<M>,
        loader: &Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        each: impl FnMut(&[<M as TrainStep>::Output], &Learner<M>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let ended = catch_unwind(AssertUnwindSafe(|| self.steps(learner, loader, each)));
        // The next draws are those that follow `Trainer::device`.
        for device in &self.devices {
            device.seed(self.seed);
        }
        ended.unwrap_or_else(|panic| Err(Error::Panicked { message: panic_message(&*panic), saved: None }))
    }

    fn steps<M: LearnerModel>(
        &self,
        mut learner: Learner<M>,
        loader: &Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        mut each: impl FnMut(&[<M as TrainStep>::Output], &Learner<M>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let devices = TrainingDevices::new(&self.devices, self.optim, self.recomputes);
        learner.fork(devices.main());
        devices.settle();
        let batches = LoaderSize::of(&**loader).map(LoaderSize::batches);
        let used = self.limits.resolve(batches)?.map(UsedBatches::Count);
        let data = EpochData::new(loader, devices.all(), used).repeating(self.limits.repeats());
        for epoch in 0.. {
            let failed =
                |source| Error::Training { source: Arc::new(TrainingError::Dataset(source)), saved: None };
            let mut passing = data.begin(Position::at_start(epoch, 0), None).map_err(failed)?;
            let mut gradients = StepGradients::new(&devices, self.accumulation > 1);
            let (mut batch, mut outputs, mut rounds) = (0, Vec::new(), 0);
            loop {
                let batches = passing.next_step().transpose().map_err(failed)?;
                let has_ended = batches.is_none();
                for (device, input) in batches.into_iter().flatten() {
                    seed_device(
                        &devices.all()[device],
                        self.seed,
                        SeededPart::TrainingBatch { epoch, batch },
                    );
                    let output = devices.train_step(&learner, device, input);
                    gradients.add(&learner, device, output.grads);
                    outputs.push(output.item);
                    batch += 1;
                }
                rounds += usize::from(!has_ended);
                let is_due = rounds >= self.accumulation || (has_ended && rounds > 0);
                if is_due {
                    let summed = gradients.sum(&learner);
                    learner.lr_step();
                    summed.apply(&devices, &mut learner);
                    if each(&outputs, &learner)?.is_break() {
                        return Ok(());
                    }
                    (rounds, outputs) = (0, Vec::new());
                }
                if has_ended {
                    break;
                }
            }
            if batch == 0 {
                return Err(Error::no_batch("training", data.ended_at_once(epoch)));
            }
        }
        Ok(())
    }
}
