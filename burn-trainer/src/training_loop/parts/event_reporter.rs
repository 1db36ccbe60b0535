//! burn's side of the loop: its event processor, with metrics and renderer behind it, its event store, and
//! its interrupter.

use std::sync::Arc;

use burn::data::dataset::DatasetError;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, LearnerEvent, LearnerModel,
    SupervisedTrainingEventProcessor, TrainStep,
};

use crate::metrics::RunMetrics;

/// Reports what happens in the loop to burn. A failure there stops training through the interrupter.
pub(in crate::training_loop) struct EventReporter<'a, M: LearnerModel> {
    processor: &'a mut SupervisedTrainingEventProcessor<M>,
    pub(in crate::training_loop) store: &'a Arc<EventStoreClient>,
    pub(in crate::training_loop) interrupter: &'a Interrupter,
}

impl<'a, M: LearnerModel> EventReporter<'a, M> {
    pub(in crate::training_loop) fn new(
        processor: &'a mut SupervisedTrainingEventProcessor<M>,
        store: &'a Arc<EventStoreClient>,
        interrupter: &'a Interrupter,
    ) -> Self {
        Self { processor, store, interrupter }
    }

    /// Waits until burn has processed every event, and the table of metrics has their values.
    ///
    /// burn's own flush waits forever if the processor's thread panics while the flush is in its queue. So
    /// two events come first that do nothing. The queue has room for one: it takes the second when all events
    /// before the first are processed, and fails, with the panic, when the thread is gone.
    pub(in crate::training_loop) fn flush(&mut self) {
        for _ in 0..2 {
            self.valid(LearnerEvent::EndEpoch(0));
        }
        self.interrupter.fail_on_error(self.processor.flush());
        RunMetrics::await_updates(self.store);
    }

    pub(in crate::training_loop) fn train(&mut self, event: LearnerEvent<<M as TrainStep>::Output>) {
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    pub(in crate::training_loop) fn valid(&mut self, event: LearnerEvent<<M as InferenceStep>::Output>) {
        let result = self.processor.process_valid(event);
        self.interrupter.fail_on_error(result);
    }

    /// What a data loader gave. `None` after its error was reported to burn.
    pub(in crate::training_loop) fn loaded<B>(&self, batch: Result<B, DatasetError>) -> Option<B> {
        batch.map_err(|error| self.interrupter.fail(error)).ok()
    }

    pub(in crate::training_loop) fn should_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}
