//! What happens in a run: epochs of training and validation, with events at which checkpoints are saved.
//!
//! The order of what happens in a step is that of burn's `SingleDeviceTrainingStrategy`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::data::dataloader::Progress;
use burn::train::{
    InferenceStep, LearnerEvent, LearnerModel, TrainLoader, TrainStep, TrainingItem, ValidLoader,
};

use super::loop_state::LoopState;
use super::parts::epoch_batches::{EpochBatches, EpochData, StepBatches};
use super::parts::loop_rules::LoopRules;
use super::parts::multi_device::{StepGradients, TrainingDevices};
use super::parts::run_limits::BatchLimits;
use super::parts::seeding::{SeededPart, seed_device};
use super::validation_data::ValidationData;
use crate::callbacks::scalars::LoggedSplit;
use crate::dataloader::NamedLoader;
use crate::error::{Error, Result};
use crate::metrics::{MetricsOf, burn_epoch};
use crate::state::event::TrainingEvent;
use crate::state::position::Position;
use crate::state::speed_meter::SplitPlan;

/// The data and the devices of a run.
pub(super) struct LoopData<'a, M: LearnerModel> {
    pub(super) train: EpochData<<M as TrainStep>::Input>,
    pub(super) valid: ValidationData<<M as InferenceStep>::Input>,
    pub(super) devices: &'a TrainingDevices,
}

impl<'a, M: LearnerModel> LoopData<'a, M> {
    pub(super) fn new(
        devices: &'a TrainingDevices,
        train: &TrainLoader<M>,
        valid: &ValidLoader<M>,
        named: &[NamedLoader<<M as InferenceStep>::Input>],
        limits: BatchLimits,
    ) -> Self {
        let train = EpochData::new(train, devices.all(), limits.train).repeating(limits.repeats);
        let valid = ValidationData::new(valid, named, &devices.main().clone().inner(), limits);
        Self { train, valid, devices }
    }
}

/// The training split of an epoch in progress.
struct EpochInTraining<'a, M: LearnerModel> {
    /// Batches of the epoch that were computed.
    batches: u64,
    /// Of the next optimizer step.
    gradients: StepGradients<'a, M>,
    /// Batches of each device in these gradients.
    accumulated: usize,
}

/// The batches of a training step that are computed.
struct ComputedBatches<O> {
    /// Each with its number in the epoch.
    outputs: Vec<(u64, O)>,
    /// For burn.
    progress: Progress,
    /// Items of the epoch up to here, as the loader counts them.
    items: u64,
}

impl<M: LearnerModel> LoopState<'_, M> {
    /// Trains all epochs that are left.
    pub(super) fn train(&mut self, data: &LoopData<'_, M>, is_resumed: bool) -> Result<()> {
        self.train_epochs(data, is_resumed)?;
        self.warn_if_never_validated();
        self.warn_if_no_epoch_was_done();
        Ok(())
    }

    fn train_epochs(&mut self, data: &LoopData<'_, M>, is_resumed: bool) -> Result<()> {
        let LoopRules { max_epochs, limits, .. } = self.rules;
        let mut next = self.progress.position.next();
        let is_done = next.epoch >= max_epochs;
        if !is_done {
            // The history of an earlier version does not have the steps.
            let history = self.metrics.history.clone();
            let steps = |epoch| history.step_after(epoch).unwrap_or(next.global_step);
            let may_end = |epoch| limits.may_end_early(Position::at_start(epoch + 1, steps(epoch)));
            self.early_stopping.replay(next.epoch, &self.metrics, self.burn.store, may_end);
        }
        // Before anything asks for the environment: a tracker at the start, a save before the first step.
        self.monitor.report_in_use();
        self.call_between("on_fit_start", |callback, context| callback.on_fit_start(context))?;
        self.callbacks.settle()?;
        // Within an epoch it depends on whether the epoch has more batches, and on its validation.
        let is_within = next.batches > 0 || next.trained;
        if is_done || self.early_stopping.has_stopped() || (!is_within && self.ends_here()) {
            self.progress.finished_before = is_resumed;
            return Ok(());
        }
        self.warn_of_another_rate();
        self.warn_if_never_due();
        for set in data.valid.sets() {
            if let Some(reason) = set.data.without_batches() {
                self.check_validated(set.metrics(), &reason)?;
            }
        }
        if !is_within && self.validate_at_start(data, is_resumed)? {
            return Ok(());
        }
        next = self.progress.position.next();
        // The stop came before the first step.
        while next.epoch < max_epochs && !self.burn.should_stop() {
            self.progress.position = next;
            self.metrics.history.see_until(burn_epoch(next.epoch));
            self.train_epoch(data)?;
            if self.burn.should_stop() || !self.progress.position.trained {
                let is_stopped = self.burn.should_stop();
                self.progress.finished_before = is_resumed && !is_stopped && !self.progress.has_moved();
                return Ok(());
            }
            let is_validated = self.progress.position.validation_due;
            self.validate_epoch(data)?;
            if self.burn.should_stop() {
                return Ok(());
            }
            self.complete_epoch()?;
            let stopped = self.stops_early(next.epoch);
            let stops_early = self.ends_here() || stopped;
            let is_complete = stops_early || next.epoch + 1 >= max_epochs;
            let events = [
                is_validated.then_some(TrainingEvent::ValidationEnd),
                Some(TrainingEvent::EpochEnd),
                is_complete.then_some(TrainingEvent::TrainingEnd),
            ];
            self.save(&events.into_iter().flatten().collect::<Vec<_>>())?;
            if self.burn.should_stop() || stops_early {
                return Ok(());
            }
            next = self.progress.position.next();
        }
        Ok(())
    }

    /// Does what is due at the end of an epoch's training.
    fn validate_epoch(&mut self, data: &LoopData<'_, M>) -> Result<()> {
        if self.progress.position.validation_due {
            self.validate(data)?;
            // A validation without a batch has logged nothing.
            return if self.burn.should_stop() { Ok(()) } else { self.check_logged(MetricsOf::All) };
        }
        data.devices.gather(self.learner.get_mut());
        self.burn.train(LearnerEvent::EndEpoch(burn_epoch(self.progress.position.epoch)));
        self.burn.flush();
        if data.valid.is_left_out() {
            self.check_validated(MetricsOf::Validation, "limit_valid_batches leaves it out")?;
        }
        self.check_logged(MetricsOf::Training)
    }

    /// Shows early stopping an epoch that is done. Returns whether it ends the run.
    fn stops_early(&mut self, epoch: u64) -> bool {
        let may_end = self.rules.limits.may_end_early(self.progress.position);
        self.early_stopping.stops_after(epoch, self.burn.store, may_end)
    }

    fn train_epoch(&mut self, data: &LoopData<'_, M>) -> Result<()> {
        if self.progress.position.trained {
            // The run was stopped during validation. A checkpoint of an earlier version does not say whether
            // that is due.
            self.note_due_validation();
            return Ok(());
        }
        let Position { epoch, batches, .. } = self.progress.position;
        let begin = || data.train.begin(self.progress.position, self.progress.data.began_with(epoch));
        let begun = self.learner.wait_for_data(begin);
        let Some(mut passing) = self.burn.loaded(begun) else { return Ok(()) };
        self.burn.train(LearnerEvent::StartSplit {
            epoch_number: burn_epoch(epoch),
            total_items: passing.total_items(),
        });
        if batches == 0 {
            self.call_between("on_epoch_start", |callback, context| callback.on_epoch_start(context))?;
        }
        self.measure_training(&passing);
        let gradients = StepGradients::new(data.devices, self.progress.batch.accumulation > 1);
        let mut training = EpochInTraining { batches, gradients, accumulated: 0 };
        let ended = self.train_batches(data, &mut training, &mut passing);
        self.learner.wait_for_data(|| drop(passing));
        let ended = ended?;
        if ended && training.batches == 0 {
            return Err(Error::no_batch("training", data.train.ended_at_once(epoch)));
        }
        self.progress.speed.end_training();
        self.burn.train(LearnerEvent::EndSplit(burn_epoch(epoch)));
        if ended {
            let position = self.progress.position;
            self.progress.position = Position { trained: true, batches: training.batches, ..position };
            self.note_due_validation();
            self.learner.settle();
            self.park()?;
        }
        Ok(())
    }

    /// Trains on what is left of the epoch. Returns whether that is the whole rest: a stop or a failure comes
    /// before it.
    ///
    /// The loader is asked for the next batch after a step, and before the step is saved, so that the step
    /// which ends an epoch is known. A loader's own account of its length may be wrong.
    fn train_batches(
        &mut self,
        data: &LoopData<'_, M>,
        training: &mut EpochInTraining<'_, M>,
        passing: &mut EpochBatches<'_, <M as TrainStep>::Input>,
    ) -> Result<bool> {
        let devices = data.devices;
        let asked = self.progress.clock.elapsed();
        let mut next = self.learner.wait_for_data(|| passing.next_step());
        self.progress.speed.read(asked, self.progress.position.items);
        if next.is_some() && training.batches > 0 {
            // The run was stopped between a step and the end of its validation.
            if self.progress.position.validation_due {
                self.save_step(data, passing, true, true)?;
            }
            // It can have come to its limit before, and with the batch that was the last of it then.
            if self.burn.should_stop() || self.ends_here() {
                return Ok(false);
            }
        }
        while let Some(batches) = next {
            let Some(batches) = self.burn.loaded(batches) else { return Ok(false) };
            let (items, progress) = (passing.items_done(), passing.progress());
            let outputs = self.compute(devices, training, batches)?;
            let mut computed = ComputedBatches { outputs, progress, items };
            let is_due = training.accumulated >= self.progress.batch.accumulation;
            let mut is_step = false;
            if is_due {
                let stepped = self.step(devices, training, computed.items);
                // Also after a failure: the state that is saved then can have these batches.
                self.report(&mut computed);
                is_step = stepped?;
                self.check_logged(MetricsOf::Training)?;
            }
            // What ends the run here, also with a step that was left out, stands above a stop that comes
            // meanwhile: the run is done.
            let is_end = is_due && !self.progress.position.validation_due && self.end_here().is_some();
            if self.burn.should_stop() && !is_end {
                self.report(&mut computed);
                return Ok(false);
            }
            // A panic of the loader must not prevent a save that is due.
            let asked = self.progress.clock.elapsed();
            let read = catch_unwind(AssertUnwindSafe(|| self.learner.wait_for_data(|| passing.next_step())));
            self.progress.speed.read(asked, items);
            let ended = matches!(read, Ok(None));
            if !is_due {
                let stepped = if ended { self.step(devices, training, computed.items) } else { Ok(true) };
                self.report(&mut computed);
                stepped?;
                self.check_logged(MetricsOf::Training)?;
            }
            // The end of an epoch is saved after validation, with its metrics. Where the loader fails, it is
            // unknown whether the epoch has ended: its validation waits for the next start.
            let is_read = matches!(read, Ok(Some(Ok(_))));
            let is_saved = is_due && !ended && (is_end || !self.burn.should_stop());
            if is_saved && self.save_step(data, passing, is_step, is_read)? {
                return Ok(false);
            }
            next = read.unwrap_or_else(|panic| resume_unwind(panic));
            // A signal can have come while the loader read, or the save waited.
            if next.is_some() && self.burn.should_stop() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Validates the state within an epoch if that is due, and saves what is due then. Returns whether the
    /// run ends here.
    fn save_step(
        &mut self,
        data: &LoopData<'_, M>,
        passing: &EpochBatches<'_, <M as TrainStep>::Input>,
        is_step: bool,
        may_validate: bool,
    ) -> Result<bool> {
        let is_validated = may_validate && self.progress.position.validation_due;
        if is_validated && !self.validate_within(data, passing.total_items())? {
            return Ok(true);
        }
        let is_end = self.ends_here();
        let events = [
            is_step.then_some(TrainingEvent::StepEnd),
            is_validated.then_some(TrainingEvent::ValidationEnd),
            is_end.then_some(TrainingEvent::TrainingEnd),
        ];
        self.save(&events.into_iter().flatten().collect::<Vec<_>>())?;
        Ok(is_end)
    }

    /// Computes a batch on each device, and adds up their gradients.
    fn compute(
        &mut self,
        devices: &TrainingDevices,
        training: &mut EpochInTraining<'_, M>,
        batches: StepBatches<<M as TrainStep>::Input>,
    ) -> Result<Vec<(u64, <M as TrainStep>::Output)>> {
        let epoch = self.progress.position.epoch;
        self.learner.begin_batches();
        let mut outputs = Vec::with_capacity(batches.len());
        for (device, batch) in batches {
            let part = SeededPart::TrainingBatch { epoch, batch: training.batches };
            seed_device(&devices.all()[device], self.rules.seed, part);
            let output = devices.train_step(self.learner.get(), device, batch);
            training.gradients.add(self.learner.get(), device, output.grads);
            training.batches += 1;
            self.metrics.log.note_step(epoch, training.batches, self.progress.position.global_step + 1);
            let split = Some(LoggedSplit::Training);
            self.call("on_train_batch_end", split, training.batches, |callback, context| {
                callback.on_train_batch_end(context, &output.item)
            })?;
            outputs.push((training.batches, output.item));
        }
        training.accumulated += 1;
        Ok(outputs)
    }

    /// Does the optimizer step, and returns whether a callback has left it out. `items` of the epoch are in
    /// the state then.
    fn step(
        &mut self,
        devices: &TrainingDevices,
        training: &mut EpochInTraining<'_, M>,
        items: u64,
    ) -> Result<bool> {
        let mut gradients = training.gradients.sum(self.learner.get());
        training.accumulated = 0;
        let is_done = !self.call_before_step(&mut gradients, training.batches)?;
        // What follows can then work in place.
        self.learner.leave_slot();
        let stop = self.callbacks.unsettle();
        match is_done {
            true => self.learner.optimizer_step(devices, gradients, self.callbacks.rate_scale()),
            false => self.learner.forget_batches(),
        }
        let position = &mut self.progress.position;
        (position.batches, position.items) = (training.batches, items);
        position.global_step += u64::from(is_done);
        self.callbacks.restore_stop(stop);
        self.learner.settle();
        if is_done {
            self.progress.speed.stepped();
            self.note_due_validation();
            self.call(
                "on_train_step_end",
                Some(LoggedSplit::Training),
                training.batches,
                |callback, context| callback.on_train_step_end(context),
            )?;
        }
        self.park()?;
        Ok(is_done)
    }

    /// Gives burn the batches, with the learning rate of the last optimizer step: as in burn's loop, that is
    /// their own step where they are the last ones in it.
    fn report(&mut self, computed: &mut ComputedBatches<<M as TrainStep>::Output>) {
        for (batch, item) in computed.outputs.drain(..) {
            let iteration = usize::try_from(batch).unwrap_or(usize::MAX);
            let learning_rate = Some(self.learner.learning_rate().clone());
            let item = TrainingItem::new(item, computed.progress.clone(), Some(iteration), learning_rate);
            self.burn.train(LearnerEvent::ProcessedItem(item));
        }
    }

    /// Begins to measure the training of an epoch, or of its rest.
    fn measure_training(&self, passing: &EpochBatches<'_, <M as TrainStep>::Input>) {
        let position = self.progress.position;
        self.progress.speed.begin_training(SplitPlan {
            items_before: position.items,
            total_items: passing.total_items() as u64,
            epochs_left: self.rules.max_epochs.saturating_sub(position.epoch),
            ..self.rules.limits.left(position, &self.progress.clock)
        });
    }
}
