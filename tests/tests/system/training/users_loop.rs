//! A training loop that a user wrote, with `Trainer::fit_with`.

use std::sync::Arc;

use burn::module::Module;
use burn::train::{
    EventProcessorTraining, InferenceStep, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, TrainingStrategy,
    ValidLoader,
};
use system_tests::models::small::{Model, keeping_every_epoch, train_with_strategy};
use system_tests::run_files::{checkpoints, described_state, in_memory, last_epochs};
use system_tests::train;

/// The simplest loop that a user may write.
struct OwnLoop;

impl SupervisedLearningStrategy<Model> for OwnLoop {
    fn fit(
        &self,
        components: TrainingComponents<Model>,
        mut learner: Learner<Model>,
        train: TrainLoader<Model>,
        valid: ValidLoader<Model>,
        starting_epoch: usize,
    ) -> (Model, SupervisedTrainingEventProcessor<Model>) {
        let mut processor = components.event_processor;
        let mut checkpointer = components.checkpointer.unwrap();
        for epoch in starting_epoch..=components.num_epochs {
            let split = || LearnerEvent::StartSplit { epoch_number: epoch, total_items: train.num_items() };
            processor.process_train(split()).unwrap();
            let mut batches = train.iter();
            while let Some(batch) = batches.next() {
                let output = learner.train_step(batch.unwrap());
                learner.lr_step();
                learner.optimizer_step(output.grads);
                let item = TrainingItem::new(output.item, batches.progress(), None, None);
                processor.process_train(LearnerEvent::ProcessedItem(item)).unwrap();
            }
            processor.process_train(LearnerEvent::EndSplit(epoch)).unwrap();
            let split = LearnerEvent::StartSplit { epoch_number: epoch, total_items: valid.num_items() };
            processor.process_valid(split).unwrap();
            let mut batches = valid.iter();
            let model = learner.model().valid();
            while let Some(batch) = batches.next() {
                let output = InferenceStep::step(&model, batch.unwrap());
                let item = TrainingItem::new(output, batches.progress(), None, None);
                processor.process_valid(LearnerEvent::ProcessedItem(item)).unwrap();
            }
            processor.process_valid(LearnerEvent::EndSplit(epoch)).unwrap();
            processor.process_train(LearnerEvent::EndEpoch(epoch)).unwrap();
            processor.flush().unwrap();
            // Not for every epoch: the history has them all nevertheless.
            if epoch != 2 {
                checkpointer.checkpoint(&learner, epoch, &components.event_store);
            }
        }
        (learner.model(), processor)
    }
}

#[test]
fn a_loop_of_the_users_own_saves_what_ours_would() {
    let (ours, own) = (in_memory(), in_memory());
    train(keeping_every_epoch(ours.path(), 4)).unwrap();
    let custom = || TrainingStrategy::Custom(Arc::new(OwnLoop));
    train_with_strategy(keeping_every_epoch(own.path(), 1), custom()).unwrap();
    train_with_strategy(keeping_every_epoch(own.path(), 4), custom()).unwrap();
    assert_eq!(last_epochs(own.path()), ["epoch=0-step=10", "epoch=2-step=30", "epoch=3-step=40"]);
    let last = |root| described_state(&checkpoints(root).join("last.ckpt"));
    assert_eq!(last(ours.path()), last(own.path()));
}
