//! A training loop that a user wrote, with `Trainer::fit_with`.

use std::sync::Arc;

use burn::module::Module;
use burn::train::metric::LossMetric;
use burn::train::{
    EventProcessorTraining, InferenceStep, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, TrainingStrategy,
    ValidLoader,
};
use burn_trainer::Error;
use system_tests::models::small::{
    Model, Script, config, keeping_every_epoch, train_scripted_with_strategy, train_with_strategy,
};
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
fn another_number_of_epochs_on_burns_training_is_an_error_before_the_first_step() {
    let with = |epochs: usize, num_epochs: usize| {
        let root = in_memory();
        // Were a step to be taken, it would panic.
        let panic_in_step = (epochs != num_epochs).then_some(1);
        let script = Script { panic_in_step, ..Script::default() };
        let custom = TrainingStrategy::Custom(Arc::new(OwnLoop));
        let config = config(root.path(), epochs);
        train_scripted_with_strategy(config, script, custom, |training| {
            training.metrics((LossMetric::new(),)).num_epochs(num_epochs)
        })
    };
    let Err(Error::Config { setting, reason }) = with(2, 20) else { panic!("it has trained") };
    assert_eq!(setting, "SupervisedTraining::num_epochs");
    assert!(reason.contains("it is 20") && reason.contains("max_epochs is 2"), "{reason}");
    assert_eq!(with(3, 3).unwrap().epochs, 3);
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
