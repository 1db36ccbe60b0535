//! A training loop that a user wrote, with `Trainer::fit_with`: that of `docs/recipes.md`.

use std::sync::Arc;

use burn::module::Module;
use burn::train::metric::LossMetric;
use burn::train::{
    EventProcessorTraining, InferenceStep, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTraining, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem,
    TrainingStrategy, ValidLoader,
};
use burn_trainer::{Error, FitResult, Trainer};
use system_tests::models::small::{
    Model, Script, config, keeping_every_epoch, train_scripted_with_strategy, train_with_strategy,
};
use system_tests::run_files::{checkpoints, described_state, in_memory, last_epochs};
use system_tests::train;

/// burn's loop for one device, without accumulation of gradients.
struct MyLoop {
    /// Saves after every so many epochs, and after the last one.
    save_every: usize,
}

impl SupervisedLearningStrategy<Model> for MyLoop {
    fn fit(
        &self,
        components: TrainingComponents<Model>,
        mut learner: Learner<Model>,
        train: TrainLoader<Model>,
        valid: ValidLoader<Model>,
        starting_epoch: usize,
    ) -> (Model, SupervisedTrainingEventProcessor<Model>) {
        let mut events = components.event_processor;
        let mut checkpointer = components.checkpointer.unwrap();
        let stop = components.interrupter;
        let device = learner.model().devices()[0].clone();
        let (train, valid) = (train.to_device(&device), valid.to_device(&device.inner()));
        for epoch in starting_epoch..=components.num_epochs {
            events.process_train(start(epoch, train.num_items())).unwrap();
            let mut batches = train.iter();
            while let Some(batch) = batches.next() {
                let output = learner.train_step(batch.unwrap());
                learner.lr_step();
                learner.optimizer_step(output.grads);
                let item = TrainingItem::new(output.item, batches.progress(), None, None);
                events.process_train(LearnerEvent::ProcessedItem(item)).unwrap();
                if stop.should_stop() {
                    // By a signal, or `q` on the dashboard. What was saved last stands.
                    return (learner.model(), events);
                }
            }
            events.process_train(LearnerEvent::EndSplit(epoch)).unwrap();

            events.process_valid(start(epoch, valid.num_items())).unwrap();
            let mut batches = valid.iter();
            let model = learner.model().valid();
            while let Some(batch) = batches.next() {
                let output = InferenceStep::step(&model, batch.unwrap());
                let item = TrainingItem::new(output, batches.progress(), None, None);
                events.process_valid(LearnerEvent::ProcessedItem(item)).unwrap();
            }
            events.process_valid(LearnerEvent::EndSplit(epoch)).unwrap();
            events.process_train(LearnerEvent::EndEpoch(epoch)).unwrap();
            // The strategies decide by the metrics, which another thread computes.
            events.flush().unwrap();
            if epoch.is_multiple_of(self.save_every) || epoch == components.num_epochs {
                checkpointer.checkpoint(&learner, epoch, &components.event_store);
            }
        }
        (learner.model(), events)
    }
}

/// A pass over a split begins.
fn start<T>(epoch_number: usize, total_items: usize) -> LearnerEvent<T> {
    LearnerEvent::StartSplit { epoch_number, total_items }
}

#[test]
fn another_number_of_epochs_on_burns_training_is_an_error_before_the_first_step() {
    let with = |epochs: usize, num_epochs: usize| {
        let root = in_memory();
        // Were a step to be taken, it would panic.
        let panic_in_step = (epochs != num_epochs).then_some(1);
        let script = Script { panic_in_step, ..Script::default() };
        let custom = TrainingStrategy::Custom(Arc::new(MyLoop { save_every: 1 }));
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

/// The line of `docs/recipes.md`.
#[allow(dead_code)]
fn trained_as_the_page_does(
    trainer: Trainer<Model>,
    training: SupervisedTraining<Model>,
    learner: Learner<Model>,
) -> burn_trainer::Result<FitResult<Model>> {
    let my_loop = TrainingStrategy::Custom(Arc::new(MyLoop { save_every: 1 }));
    let result = trainer.fit_with(training, learner, my_loop)?;
    Ok(result)
}

#[test]
fn a_stopped_loop_leaves_the_last_epoch_that_was_saved() {
    let root = in_memory();
    let stopping = |training: SupervisedTraining<Model>| {
        // Before the first step: the loop sees it after that.
        training.interrupter().stop(Some("a test"));
        training.metrics((LossMetric::new(),))
    };
    let custom = || TrainingStrategy::Custom(Arc::new(MyLoop { save_every: 1 }));
    train_with_strategy(keeping_every_epoch(root.path(), 2), custom()).unwrap();
    let config = keeping_every_epoch(root.path(), 4);
    let result = train_scripted_with_strategy(config, Script::default(), custom(), stopping).unwrap();
    assert_eq!(result.epochs, 2);
    assert_eq!(last_epochs(root.path()), ["epoch=0-step=10", "epoch=1-step=20"]);
}

#[test]
fn a_loop_of_the_users_own_saves_what_ours_would() {
    let (ours, own) = (in_memory(), in_memory());
    train(keeping_every_epoch(ours.path(), 4)).unwrap();
    // Not every epoch: the history has them all nevertheless.
    let custom = || TrainingStrategy::Custom(Arc::new(MyLoop { save_every: 3 }));
    train_with_strategy(keeping_every_epoch(own.path(), 1), custom()).unwrap();
    train_with_strategy(keeping_every_epoch(own.path(), 4), custom()).unwrap();
    assert_eq!(last_epochs(own.path()), ["epoch=0-step=10", "epoch=2-step=30", "epoch=3-step=40"]);
    let last = |root| described_state(&checkpoints(root).join("last.ckpt"));
    assert_eq!(last(ours.path()), last(own.path()));
}
