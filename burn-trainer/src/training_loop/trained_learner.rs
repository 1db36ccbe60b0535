//! The learner as the loop trains it, and which parts of its state are valid when a batch fails.

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::tensor::Device;
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::plumbing::MakeSections;

use super::multi_device::StepGradients;
use crate::learner_state::keep_alive::KeepAlive;
use crate::learner_state::running_statistics::RunningStatistics;
use crate::learner_state::snapshot::{ReadTiming, settle_statistics, take_snapshot};
use crate::metrics::HistoryAt;
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
pub(super) struct TrainedLearner<'a, M: LearnerModel> {
    learner: &'a mut Learner<M>,
    phase: Phase,
    /// The running statistics of the last optimizer step. `None` for a model without any.
    statistics: Option<RunningStatistics>,
    /// The learning rate of the last optimizer step.
    learning_rate: ModuleLearningRate,
    keep_alive: KeepAlive<M>,
    reading: ReadTiming,
    /// Where the state of the last optimizer step is parked. `None` when nobody would take it.
    slot: Option<ParkingSlot<M>>,
}

impl<'a, M: LearnerModel> TrainedLearner<'a, M> {
    /// A learner on these devices. `reading` says when its saves read the devices.
    pub(super) fn new(
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
            learning_rate,
            keep_alive: KeepAlive::new(devices),
            reading,
            slot,
        }
    }

    pub(super) fn get(&self) -> &Learner<M> {
        self.learner
    }

    pub(super) fn get_mut(&mut self) -> &mut Learner<M> {
        self.learner
    }

    /// The learning rate of the last optimizer step.
    pub(super) fn learning_rate(&self) -> &ModuleLearningRate {
        &self.learning_rate
    }

    /// Starts training. `learning_rate` is that of the last optimizer step of a resumed run.
    pub(super) fn begin(&mut self, learning_rate: Option<f64>) {
        let (statistics, _) = settle_statistics(self.learner);
        // Most models have none. Then there is nothing to keep at every step.
        self.statistics = (!statistics.is_empty()).then_some(statistics);
        if let Some(learning_rate) = learning_rate {
            self.learning_rate = learning_rate.into();
        }
    }

    /// The next batches are computed.
    pub(super) fn begin_batches(&mut self) {
        self.phase = Phase::Batches;
        if let Some(slot) = &self.slot {
            slot.begin_batches();
        }
    }

    /// Does an optimizer step. [`settle`](Self::settle) ends it.
    pub(super) fn optimizer_step(&mut self, gradients: &mut StepGradients<'_, M>) {
        self.phase = Phase::OptimizerStep;
        // The step can then change the state in place.
        drop(self.slot.as_ref().and_then(ParkingSlot::take));
        self.learner.lr_step();
        self.learning_rate = self.learner.lr_current();
        gradients.apply(self.learner);
    }

    /// The state is now that of an optimizer step, or of the end of an epoch's training, at this position.
    pub(super) fn settle(&mut self, position: Position) {
        let mut valid = None;
        if let Some(statistics) = &mut self.statistics {
            let (settled, model) = settle_statistics(self.learner);
            (*statistics, valid) = (settled, Some(model));
        }
        self.phase = Phase::BetweenSteps;
        if let Some(slot) = &self.slot {
            let learning_rate = self.learning_rate.base();
            slot.park(ParkedState { learner: self.learner.clone(), valid, position, learning_rate });
        }
    }

    /// The epoch is done, at this position.
    pub(super) fn complete_epoch(&self, position: Position) {
        if let Some(slot) = &self.slot {
            slot.move_to(position);
        }
    }

    /// A copy of the state of the last optimizer step, which has this number.
    pub(super) fn snapshot(
        &self,
        weights_only: bool,
        step: u64,
        store: &Arc<EventStoreClient>,
        history: impl FnOnce() -> HistoryAt,
    ) -> MakeSections {
        // After a failed optimizer step a part of the optimizer's state is lost.
        let weights_only = weights_only || self.phase == Phase::OptimizerStep;
        let statistics = self.statistics.as_ref().filter(|_| self.phase != Phase::BetweenSteps);
        take_snapshot(
            self.learner,
            store,
            statistics,
            (!weights_only).then(history),
            |model, learner| self.keep_alive.keep(step, model, learner),
            self.reading,
        )
    }

    /// Drops the second copies of states before this optimizer step, which are written.
    pub(super) fn release_before(&self, step: u64) {
        self.keep_alive.release_before(step);
    }
}
