//! What happens in a run: epochs of training and validation, with events at which checkpoints are saved.
//!
//! The order of what happens in a step is that of burn's `SingleDeviceTrainingStrategy`.

use burn::data::dataloader::Progress;
use burn::train::{InferenceStep, LearnerEvent, LearnerModel, TrainStep, TrainingItem};

use super::epoch_batches::{EpochData, StepBatches};
use super::loop_state::LoopState;
use super::multi_device::{StepGradients, TrainingDevices};
use super::seeding::{SeededPart, seed_device};
use crate::error::Result;
use crate::state::event::TrainingEvent;
use crate::state::position::{Position, burn_epoch};

/// The data and the devices of a run.
pub(super) struct RunData<'a, M: LearnerModel> {
    pub(super) train: EpochData<<M as TrainStep>::Input>,
    pub(super) valid: EpochData<<M as InferenceStep>::Input>,
    pub(super) devices: &'a TrainingDevices,
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

impl<M: LearnerModel> LoopState<'_, M> {
    /// Trains all epochs that are left.
    pub(super) fn train(&mut self, data: &RunData<'_, M>, max_epochs: u64, is_resumed: bool) -> Result<()> {
        let mut next = self.progress.position.next();
        let is_done = next.epoch >= max_epochs;
        if !is_done {
            self.early_stopping.replay(next.epoch, &self.metrics, self.burn.store);
        }
        if is_done || self.early_stopping.has_stopped() {
            self.progress.finished_before = is_resumed;
            return Ok(());
        }
        // The stop came before the first step.
        while next.epoch < max_epochs && !self.burn.should_stop() {
            self.progress.position = next;
            self.metrics.history.see_until(burn_epoch(next.epoch));
            self.train_epoch(data)?;
            if self.burn.should_stop() {
                return Ok(());
            }
            data.devices.gather(self.learner.get_mut());
            self.validate(data)?;
            if self.burn.should_stop() {
                return Ok(());
            }
            // A split without a batch has logged nothing.
            self.check_logged("")?;
            self.complete_epoch();
            self.save(&[TrainingEvent::ValidationEnd, TrainingEvent::EpochEnd])?;
            if self.burn.should_stop() || self.early_stopping.stops_after(next.epoch, self.burn.store) {
                return Ok(());
            }
            next = self.progress.position.next();
        }
        Ok(())
    }

    fn train_epoch(&mut self, data: &RunData<'_, M>) -> Result<()> {
        if self.progress.position.trained {
            // The run was stopped during validation.
            return Ok(());
        }
        let Position { epoch, batches, .. } = self.progress.position;
        let Some(mut passing) = self.burn.loaded(data.train.begin(self.progress.position)) else {
            return Ok(());
        };
        self.burn.train(LearnerEvent::StartSplit {
            epoch_number: burn_epoch(epoch),
            total_items: data.train.num_items(),
        });
        let gradients = StepGradients::new(data.devices, self.progress.batch.accumulation > 1);
        let mut training = EpochInTraining { batches, gradients, accumulated: 0 };
        let mut epoch_ends = false;
        while let Some(batches) = passing.next_step() {
            let Some(batches) = self.burn.loaded(batches) else { break };
            let progress = passing.progress();
            epoch_ends = progress.is_completed();
            let is_step = self.train_batches(data.devices, &mut training, batches, &progress);
            self.check_logged("train_")?;
            if self.burn.should_stop() {
                break;
            }
            // The end of an epoch is saved after validation, with its metrics.
            if is_step && !epoch_ends {
                self.save(&[TrainingEvent::StepEnd])?;
            }
            // A signal can have come while the save waited.
            if self.burn.should_stop() {
                break;
            }
        }
        self.burn.train(LearnerEvent::EndSplit(burn_epoch(epoch)));
        if epoch_ends || !self.burn.should_stop() {
            // With a loader that does not know its end, the last gradients of an accumulation are dropped.
            let position = self.progress.position;
            self.progress.position = Position { trained: true, batches: training.batches, ..position };
            self.learner.settle(self.progress.position);
        }
        Ok(())
    }

    /// Trains on a batch for each device, and does the optimizer step when enough are accumulated. Returns whether it did.
    fn train_batches(
        &mut self,
        devices: &TrainingDevices,
        training: &mut EpochInTraining<'_, M>,
        batches: StepBatches<<M as TrainStep>::Input>,
        progress: &Progress,
    ) -> bool {
        let epoch = self.progress.position.epoch;
        self.learner.begin_batches();
        let mut outputs = Vec::with_capacity(batches.len());
        for (device, batch) in batches {
            let part = SeededPart::TrainingBatch { epoch, batch: training.batches };
            seed_device(&devices.all()[device], self.progress.seed, part);
            let output = devices.train_step(self.learner.get(), device, batch);
            training.gradients.add(self.learner.get(), device, output.grads);
            training.batches += 1;
            outputs.push((training.batches, output.item));
        }
        training.accumulated += 1;
        let is_step = training.accumulated >= self.progress.batch.accumulation || progress.is_completed();
        if is_step {
            self.learner.optimizer_step(&mut training.gradients);
            training.accumulated = 0;
            let position = &mut self.progress.position;
            position.global_step += 1;
            position.batches = training.batches;
            position.items = progress.items_processed as u64;
            self.learner.settle(self.progress.position);
            self.environment.report();
        }
        for (batch, item) in outputs {
            let iteration = usize::try_from(batch).unwrap_or(usize::MAX);
            let learning_rate = Some(self.learner.learning_rate().clone());
            let item = TrainingItem::new(item, progress.clone(), Some(iteration), learning_rate);
            self.burn.train(LearnerEvent::ProcessedItem(item));
        }
        is_step
    }

    fn validate(&mut self, data: &RunData<'_, M>) -> Result<()> {
        let Position { epoch, global_step, .. } = self.progress.position;
        let start = Position::at_start(epoch, global_step);
        let Some(mut passing) = self.burn.loaded(data.valid.begin(start)) else { return Ok(()) };
        self.burn.valid(LearnerEvent::StartSplit {
            epoch_number: burn_epoch(epoch),
            total_items: data.valid.num_items(),
        });
        seed_device(data.devices.main(), self.progress.seed, SeededPart::Validation { epoch });
        let model = self.learner.get().model().valid();
        let mut iteration = 0;
        while let Some(batches) = passing.next_step() {
            let Some(batches) = self.burn.loaded(batches) else { break };
            for (_, batch) in batches {
                iteration += 1;
                let output = InferenceStep::step(&model, batch);
                let item = TrainingItem::new(output, passing.progress(), Some(iteration), None);
                self.burn.valid(LearnerEvent::ProcessedItem(item));
            }
            self.check_logged("val_")?;
            if self.burn.should_stop() {
                break;
            }
        }
        self.burn.valid(LearnerEvent::EndSplit(burn_epoch(epoch)));
        self.burn.train(LearnerEvent::EndEpoch(burn_epoch(epoch)));
        self.burn.flush();
        Ok(())
    }
}
