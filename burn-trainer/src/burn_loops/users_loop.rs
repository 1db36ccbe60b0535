//! A loop of the user's, for the run's number of epochs. Another one on burn's training is an error before
//! the loop begins: burn has no getter for it, and gives it to such a loop alone.

use std::sync::Arc;

use burn::train::{
    CustomLearningStrategy, EventProcessorTraining, Learner, LearnerModel, LearningResult,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    ValidLoader,
};
use parking_lot::Mutex;

use crate::error::Error;
use crate::training_loop::burn_settings::RunEpochs;

/// The error of a start, for the end of the call. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct StartError(Arc<Mutex<Option<Error>>>);

impl StartError {
    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().take()
    }
}

/// The loop, which begins if the numbers of epochs agree.
pub(crate) struct UsersLoop<M: LearnerModel> {
    inner: CustomLearningStrategy<M>,
    epochs: RunEpochs,
    error: StartError,
}

impl<M: LearnerModel> UsersLoop<M> {
    pub(crate) fn new(inner: CustomLearningStrategy<M>, epochs: RunEpochs, error: StartError) -> Self {
        Self { inner, epochs, error }
    }
}

impl<M: LearnerModel> SupervisedLearningStrategy<M> for UsersLoop<M> {
    fn train(
        &self,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        mut components: TrainingComponents<M>,
    ) -> LearningResult<M> {
        if let Err(error) = self.epochs.put_into_users(&mut components) {
            *self.error.0.lock() = Some(error);
            let (model, renderer) = (learner.model().valid(), components.event_processor.renderer());
            return LearningResult { model, renderer, interrupted: None, error: None };
        }
        self.inner.train(learner, train, valid, components)
    }

    fn fit(
        &self,
        components: TrainingComponents<M>,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        self.inner.fit(components, learner, train, valid, starting_epoch)
    }
}
