//! Reads the state of a learner's optimizer and scheduler before training starts.
//!
//! Their records come from a checkpointer, which needs an event store, which only a launched training has. So
//! a training is launched that has no data, writes nothing, and ends at once.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::{
    EventProcessorTraining, Learner, LearnerModel, LearningResult, SupervisedLearningStrategy,
    SupervisedTraining, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingStrategy,
    ValidLoader,
};
use burn_ckpt::plumbing::ReadTiming;
use burn_ckpt::{Result, Section};
use parking_lot::Mutex;

use super::record_capture::missing_record;
use super::snapshot;
use crate::process::console::PlainRenderer;

/// The optimizer's state, by the paths of the parameters, and the scheduler's.
pub(crate) fn optimizer_and_scheduler<M: LearnerModel>(learner: &Learner<M>) -> Result<(Section, Section)> {
    let probe = Arc::new(Probe::default());
    let training = SupervisedTraining::<M>::new("", Arc::new(NoData), Arc::new(NoData))
        .with_application_logger(None)
        .with_metric_logger(InMemoryMetricLogger::new())
        .renderer(Box::new(PlainRenderer::hidden()))
        .with_training_strategy(TrainingStrategy::Custom(probe.clone()));
    training.launch(learner.clone());
    let found = probe.0.lock().take();
    found.unwrap_or_else(|| Err(missing_record("optimizer")))
}

#[derive(Default)]
struct Probe(Mutex<Option<Result<(Section, Section)>>>);

impl<M: LearnerModel> SupervisedLearningStrategy<M> for Probe {
    fn train(
        &self,
        learner: Learner<M>,
        train: TrainLoader<M>,
        valid: ValidLoader<M>,
        components: TrainingComponents<M>,
    ) -> LearningResult<M> {
        // Without burn's events of a start and an end.
        let (model, processor) = self.fit(components, learner, train, valid, 1);
        LearningResult { model, renderer: processor.renderer(), interrupted: None, error: None }
    }

    fn fit(
        &self,
        components: TrainingComponents<M>,
        learner: Learner<M>,
        _train: TrainLoader<M>,
        _valid: ValidLoader<M>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        let model = learner.model();
        let found = snapshot::optimizer_and_scheduler(learner, &components.event_store, ReadTiming::Later);
        *self.0.lock() = Some(found);
        (model, components.event_processor)
    }
}

struct NoData;

impl<O: 'static> DataLoader<O> for NoData {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        Box::new(NoBatches(PhantomData))
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self)
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self)
    }
}

/// The end of batches of any type.
struct NoBatches<O>(PhantomData<O>);

impl<O> Iterator for NoBatches<O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl<O> DataLoaderIterator<O> for NoBatches<O> {
    fn progress(&self) -> Progress {
        Progress::new(0, 0, None)
    }
}
