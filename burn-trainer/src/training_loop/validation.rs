//! The validations of a run: at the ends of epochs, and within them.

use burn::train::{InferenceStep, LearnerEvent, LearnerModel, TrainingItem};

use super::epochs::LoopData;
use super::loop_state::{LoopProgress, LoopState};
use super::parts::epoch_batches::{EpochBatches, EpochData};
use super::parts::loop_rules::LoopRules;
use super::parts::seeding::{SeededPart, seed_device};
use super::validation_data::ValidationSet;
use crate::callbacks::missing_validation::{ended_before_validation, ends_before_validation};
use crate::callbacks::scalars::LoggedSplit;
use crate::dataloader::without_batch;
use crate::error::Result;
use crate::metrics::{MetricsOf, burn_epoch};
use crate::process::console::{note, warn};
use crate::state::event::TrainingEvent;
use crate::state::position::Position;
use crate::state::speed_meter::Activity;

/// What looks at a metric, in a warning.
const A_STRATEGY: &str = "a strategy";

impl<M: LearnerModel> LoopState<'_, M> {
    /// Notes whether a validation of the present state is due. It stays due until it is done: a state that is
    /// saved before that says so.
    pub(super) fn note_due_validation(&mut self) {
        let position = self.progress.position;
        let items = self.progress.data.began_with(position.epoch);
        let is_due = self.rules.schedule.is_due(position, &self.progress.clock, items);
        self.progress.position.validation_due |= is_due;
    }

    /// Validates, or tries that, before the first step of a new run, or of one that was stopped in this
    /// validation. Returns whether the run ends here.
    pub(super) fn validate_at_start(&mut self, data: &LoopData<'_, M>, is_resumed: bool) -> Result<bool> {
        if !self.rules.validates() {
            return Ok(false);
        }
        if data.valid.is_tried() && !is_resumed {
            self.try_validation(data)?;
            return Ok(self.burn.should_stop());
        }
        self.progress.position.validation_due |= !is_resumed && self.rules.validates_at_start;
        if !self.progress.position.validation_due {
            return Ok(false);
        }
        self.metrics.history.see_until(burn_epoch(0));
        self.validate(data)?;
        if self.burn.should_stop() {
            return Ok(true);
        }
        self.settle_validation()?;
        let is_end = self.ends_here();
        let events = [Some(TrainingEvent::ValidationEnd), is_end.then_some(TrainingEvent::TrainingEnd)];
        self.save(&events.into_iter().flatten().collect::<Vec<_>>())?;
        Ok(is_end)
    }

    /// Validates on a few batches of each set, with all metrics, and keeps nothing of it.
    fn try_validation(&mut self, data: &LoopData<'_, M>) -> Result<()> {
        note("the validation is tried before the training: its numbers are not kept");
        self.metrics.history.set_trial(true);
        let model = self.learner.get().model().valid();
        for set in data.valid.sets() {
            let Some(trial) = &set.trial else { continue };
            if !self.validate_batches(data, set, trial, &model)? {
                break;
            }
            self.end_split();
            if self.burn.should_stop() {
                break;
            }
        }
        self.metrics.sets.enter(None);
        self.metrics.history.set_trial(false);
        Ok(())
    }

    /// Does a validation that is due within an epoch. Returns whether it is done: a stop can come before
    /// that.
    pub(super) fn validate_within(&mut self, data: &LoopData<'_, M>, total_items: usize) -> Result<bool> {
        self.validate(data)?;
        if self.burn.should_stop() {
            return Ok(false);
        }
        self.settle_validation()?;
        // The progress that is shown is that of the training again.
        let epoch_number = burn_epoch(self.progress.position.epoch);
        self.burn.train(LearnerEvent::StartSplit { epoch_number, total_items });
        Ok(true)
    }

    /// The state has had its validation, and the states of the callbacks are those after it.
    fn settle_validation(&mut self) -> Result<()> {
        self.check_logged(MetricsOf::Validation)?;
        let callbacks = self.callbacks.settle()?;
        self.end_validation();
        self.learner.move_to(self.progress.position, callbacks);
        Ok(())
    }

    /// Computes the next batches of a validation, and counts them. Returns whether there were any.
    fn validate_next(
        &mut self,
        model: &M,
        passing: &mut EpochBatches<'_, <M as InferenceStep>::Input>,
        iteration: &mut usize,
    ) -> bool {
        let Some(batches) = self.learner.wait_for_data(|| passing.next_step()) else { return false };
        let Some(batches) = self.burn.loaded(batches) else { return false };
        for (_, batch) in batches {
            *iteration += 1;
            let output = InferenceStep::step(model, batch);
            let item = TrainingItem::new(output, passing.progress(), Some(*iteration), None);
            self.burn.valid(LearnerEvent::ProcessedItem(item));
        }
        true
    }

    /// Validates the present state, on one set after the other.
    pub(super) fn validate(&mut self, data: &LoopData<'_, M>) -> Result<()> {
        let is_within = !self.progress.position.trained;
        data.devices.gather(self.learner.get_mut());
        let _validating = self.progress.speed.measure(Activity::Validating);
        self.metrics.begin_validation(is_within);
        self.call_between("on_validation_start", |callback, context| callback.on_validation_start(context))?;
        let device = data.devices.main().clone().inner();
        let trained = self.learner.get().model().valid();
        let other = self.callbacks.take_validated().map(|model| model.valid().to_device(&device));
        let trained_on = self.callbacks.take_trained_on();
        for set in data.valid.sets() {
            let is_trained = set.name().is_some_and(|name| trained_on.iter().any(|on| on == name));
            let model = other.as_ref().filter(|_| !is_trained).unwrap_or(&trained);
            if !self.validate_batches(data, set, &set.data, model)? {
                break;
            }
            self.end_of_set()?;
            if self.burn.should_stop() {
                break;
            }
        }
        self.metrics.sets.enter(None);
        self.end_of_validation()
    }

    /// Computes the batches of a validation set, all or those that are tried. Returns whether it has begun:
    /// its loader can fail before.
    fn validate_batches(
        &mut self,
        data: &LoopData<'_, M>,
        set: &ValidationSet<<M as InferenceStep>::Input>,
        batches: &EpochData<<M as InferenceStep>::Input>,
        model: &M,
    ) -> Result<bool> {
        let position = self.progress.position;
        let Position { epoch, global_step, trained, .. } = position;
        let start = Position::at_start(position.next_validation(), global_step);
        let began_with = self.progress.data.began_with(epoch);
        let begun = self.learner.wait_for_data(|| batches.begin_validation(start, began_with));
        let Some(mut passing) = self.burn.loaded(begun) else { return Ok(false) };
        self.metrics.sets.enter(set.name());
        let (epoch_number, total_items) = (burn_epoch(epoch), passing.total_items());
        self.burn.valid(LearnerEvent::StartSplit { epoch_number, total_items });
        let part = match trained {
            true => SeededPart::Validation { epoch },
            false => SeededPart::ValidationWithin { step: global_step },
        };
        // For each set, so that what it draws does not depend on the sets before it.
        seed_device(data.devices.main(), self.rules.seed, part);
        let mut iteration = 0;
        while self.validate_next(model, &mut passing, &mut iteration) {
            match self.metrics.history.is_trial() {
                true => self.check_tried(set.metrics())?,
                false => self.check_logged(set.metrics())?,
            }
            if self.burn.should_stop() {
                break;
            }
        }
        self.learner.wait_for_data(|| drop(passing));
        match set.name() {
            _ if iteration > 0 || self.burn.should_stop() => {}
            None => self.check_validated(set.metrics(), &batches.ended_at_once(epoch))?,
            // A set with a name is meant to be used.
            Some(name) => return Err(without_batch(name, batches.ended_at_once(epoch))),
        }
        Ok(true)
    }

    /// Tells burn and the callbacks that the batches of a validation set are computed, or that it was
    /// stopped.
    fn end_of_set(&mut self) -> Result<()> {
        if !self.burn.should_stop() {
            let (split, batches) = (Some(LoggedSplit::Validation), self.progress.position.batches);
            self.call("on_validation_batches_end", split, batches, |callback, context| {
                callback.on_validation_batches_end(context)
            })?;
        }
        self.end_split();
        Ok(())
    }

    /// Has burn end the metrics of a validation set, and waits for them: the next ones are those of another
    /// set.
    fn end_split(&mut self) {
        self.burn.valid(LearnerEvent::EndSplit(burn_epoch(self.progress.position.epoch)));
        self.burn.flush();
    }

    /// Tells burn and the callbacks that a validation is done, or that it was stopped.
    fn end_of_validation(&mut self) -> Result<()> {
        let position = self.progress.position;
        if position.trained {
            self.burn.train(LearnerEvent::EndEpoch(burn_epoch(position.epoch)));
        }
        self.burn.flush();
        if self.burn.should_stop() {
            return Ok(());
        }
        self.call_between("on_validation_end", |callback, context| callback.on_validation_end(context))
    }

    /// Why the run ends before its first validation, where that is known before its first step.
    pub(super) fn why_never_due(progress: &LoopProgress, rules: &LoopRules) -> Option<String> {
        let Position { last_validation, .. } = progress.position;
        let is_done = progress.position.next().epoch >= rules.max_epochs;
        if is_done || last_validation.is_some() || rules.validates_at_start {
            return None;
        }
        rules.ends_before_validation(progress.batch.batches_per_step(), progress.data.resumed_with())
    }

    /// Says that a strategy waits for a validation which is never due.
    pub(super) fn warn_if_never_due(&self) {
        let needed = self.needed_by_strategy(MetricsOf::Validation);
        if let (Some(metric), Some(why)) = (needed, Self::why_never_due(&self.progress, &self.rules)) {
            warn(&ends_before_validation(A_STRATEGY, &metric, &why));
        }
    }

    /// Says that a strategy has waited for a validation which was never due, unless that was said before.
    pub(super) fn warn_if_never_validated(&self) {
        let is_done = !self.burn.should_stop() && self.progress.position.last_validation.is_none();
        let LoopProgress { batch, data, .. } = &self.progress;
        let said = self.rules.ends_before_validation(batch.batches_per_step(), data.resumed_with());
        let is_new = said.is_none();
        let needed = self.needed_by_strategy(MetricsOf::Validation);
        if let Some(metric) = needed.filter(|_| is_done && is_new && self.progress.has_moved()) {
            warn(&ended_before_validation(A_STRATEGY, &metric));
        }
    }

    /// Says that a strategy has waited for the end of an epoch, which is when a metric of the training ranks.
    pub(super) fn warn_if_no_epoch_was_done(&self) {
        let is_done = !self.burn.should_stop() && self.progress.has_moved();
        if !is_done || self.progress.position.epochs() > 0 {
            return;
        }
        let saves = self.saves.lock();
        let table = self.metrics.table.lock();
        if let Some(metric) = saves.metric_of_strategy(|name| table.is_of(name, MetricsOf::Training)) {
            warn(&format!(
                "{A_STRATEGY} looks at {metric} at the ends of epochs, and the run has ended within its first: train longer, or take a \
                 metric of the validation"
            ));
        }
    }

    /// The present state is validated.
    pub(super) fn end_validation(&mut self) {
        let position = self.progress.position;
        // Where there is one in each epoch, the values of the epoch are all.
        let has_several = self.rules.schedule.is_within_epochs() || self.rules.validates_at_start;
        self.metrics.end_validation(position.in_log(), has_several, self.burn.store);
        self.progress.position = position.validated(self.progress.clock.seconds());
    }
}
