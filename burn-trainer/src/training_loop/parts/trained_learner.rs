//! The learner as the loop trains it, and which parts of its state are valid when a batch fails.

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::plumbing::{MakeSections, ReadTiming};

use super::multi_device::{SummedGradients, TrainingDevices};
use crate::learner_state::keep_alive::KeepAlive;
use crate::learner_state::learning_rates::LearningRates;
use crate::learner_state::running_statistics::RunningStatistics;
use crate::learner_state::snapshot::{settle_statistics, take_snapshot};
use crate::lr_scheduler::with_scale;
use crate::metrics::HistoryAt;
use crate::state::callback_state::CallbackStates;
use crate::state::position::Position;
use crate::stopping::parked_state::{ParkedState, ParkingSlot};

/// The part of a training step in which a panic can come. It decides which parts of the state are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has changed since the last optimizer step.
    BetweenSteps,
    /// Batches are computed: parameters are those of the last optimizer step, running statistics are newer.
    Batches,
    /// The optimizer step: parameters are valid, the optimizer's state is not.
    OptimizerStep,
}

/// The learner of one call of `fit`.
pub(in crate::training_loop) struct TrainedLearner<'a, M: LearnerModel> {
    learner: &'a mut Learner<M>,
    phase: Phase,
    /// The running statistics of the last optimizer step. `None` for a model without any.
    statistics: Option<RunningStatistics>,
    /// The model with them, until it is parked.
    valid: Option<M>,
    /// The learning rate of the last optimizer step.
    learning_rate: ModuleLearningRate,
    keep_alive: KeepAlive<M>,
    reading: ReadTiming,
    /// Where the state of the last optimizer step is parked. `None` when no thread would take it.
    slot: Option<ParkingSlot<M>>,
}

impl<'a, M: LearnerModel> TrainedLearner<'a, M> {
    /// A learner on these devices. `reading` says when its saves read the devices.
    pub(in crate::training_loop) fn new(
        learner: &'a mut Learner<M>,
        devices: &[Device],
        reading: ReadTiming,
        slot: Option<ParkingSlot<M>>,
    ) -> Self {
        let learning_rate = learner.lr_current();
        Self {
            learner,
            phase: Phase::BetweenSteps,
            statistics: None,
            valid: None,
            learning_rate,
            keep_alive: KeepAlive::new(devices),
            reading,
            slot,
        }
    }

    pub(in crate::training_loop) fn get(&self) -> &Learner<M> {
        self.learner
    }

    pub(in crate::training_loop) fn get_mut(&mut self) -> &mut Learner<M> {
        self.learner
    }

    /// The learning rate of the last optimizer step.
    pub(in crate::training_loop) fn learning_rate(&self) -> &ModuleLearningRate {
        &self.learning_rate
    }

    /// Starts training. `learning_rate` is that of the last optimizer step of a resumed run.
    pub(in crate::training_loop) fn begin(&mut self, learning_rate: Option<f64>) {
        let (statistics, _) = settle_statistics(self.learner);
        // Most models have none. Then there is nothing to keep at every step.
        self.statistics = (!statistics.is_empty()).then_some(statistics);
        if let Some(learning_rate) = learning_rate {
            self.learning_rate = learning_rate.into();
        }
    }

    /// The next batches are computed.
    pub(in crate::training_loop) fn begin_batches(&mut self) {
        self.phase = Phase::Batches;
    }

    /// Calls a function that waits for a data loader: for a batch, or for its threads.
    pub(in crate::training_loop) fn wait_for_data<T>(&self, work: impl FnOnce() -> T) -> T {
        let say = |waits| {
            if let Some(slot) = &self.slot {
                slot.set_waiting(waits);
            }
        };
        say(true);
        let result = work();
        say(false);
        result
    }

    /// The batches of a step are left out: the running statistics are those of the step before again.
    pub(in crate::training_loop) fn forget_batches(&mut self) {
        if let Some(statistics) = &self.statistics {
            // The model shares its statistics' cells with its copies.
            let model = self.learner.model();
            // burn keeps the newest update of a cell apart until `valid` asks for its value. Put into the
            // cell before that, the statistics would be replaced by it.
            drop(model.valid());
            drop(statistics.put_into(model));
        }
        self.phase = Phase::BetweenSteps;
    }

    /// The state is about to change, and is not parked any more. So the change can work in place.
    pub(in crate::training_loop) fn leave_slot(&self) {
        drop(self.slot.as_ref().and_then(ParkingSlot::take));
    }

    /// Does an optimizer step, with a scale that the scheduler takes. [`settle`](Self::settle) ends it.
    pub(in crate::training_loop) fn optimizer_step(
        &mut self,
        devices: &TrainingDevices,
        gradients: SummedGradients,
        rate_scale: f64,
    ) {
        with_scale(rate_scale, || self.learner.lr_step());
        self.phase = Phase::OptimizerStep;
        self.learning_rate = self.learner.lr_current();
        gradients.apply(devices, self.learner);
    }

    /// The rates of the last optimizer step and of the next, with this scale.
    pub(in crate::training_loop) fn rates(&self, scale: f64) -> LearningRates {
        LearningRates::of(self.learner, self.learning_rate.base(), scale)
    }

    /// The state is now that of an optimizer step, or of the end of an epoch's training. [`park`](Self::park)
    /// follows.
    pub(in crate::training_loop) fn settle(&mut self) {
        self.valid = None;
        if let Some(statistics) = &mut self.statistics {
            let (settled, model) = settle_statistics(self.learner);
            (*statistics, self.valid) = (settled, Some(model));
        }
        self.phase = Phase::BetweenSteps;
    }

    /// Parks the settled state, which has this position, with the states of the callbacks.
    pub(in crate::training_loop) fn park(&mut self, position: Position, callbacks: CallbackStates) {
        let valid = self.valid.take();
        if let Some(slot) = &self.slot {
            let (learner, learning_rate) = (self.learner.clone(), self.learning_rate.base());
            slot.park(ParkedState { learner, valid, position, learning_rate, callbacks });
        }
    }

    /// The parked state has this position now: it is validated, or its epoch is done.
    pub(in crate::training_loop) fn move_to(&self, position: Position, callbacks: CallbackStates) {
        if let Some(slot) = &self.slot {
            slot.move_to(position, callbacks);
        }
    }

    /// A copy of the state of the last optimizer step, which has this number.
    pub(in crate::training_loop) fn snapshot(
        &self,
        weights_only: bool,
        step: u64,
        store: &Arc<EventStoreClient>,
        history: impl FnOnce() -> HistoryAt,
        callbacks: &CallbackStates,
    ) -> MakeSections {
        // After a failed optimizer step a part of the optimizer's state is lost.
        let weights_only = weights_only || self.phase == Phase::OptimizerStep;
        let statistics = self.statistics.as_ref().filter(|_| self.phase != Phase::BetweenSteps);
        take_snapshot(
            self.learner,
            store,
            statistics,
            (!weights_only).then(history),
            |model, learner| self.keep_alive.keep(step, model, learner, callbacks),
            self.reading,
            callbacks,
        )
    }

    /// Drops the second copies of states before this optimizer step, which are written.
    pub(in crate::training_loop) fn release_before(&self, step: u64) {
        self.keep_alive.release_before(step);
    }
}
