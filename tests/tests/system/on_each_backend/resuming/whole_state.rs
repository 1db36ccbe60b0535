//! A resumed run has all of its state: the order of the data, the metric history, early stopping. What
//! changed in between is a warning or an error.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::train::metric::{
    Adaptor, LossMetric, Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry,
};
use burn::train::{Learner, SupervisedTraining};
use burn_ckpt::Checkpoint;
use burn_trainer::Error;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::config;
use system_tests::models::small::{
    BATCH, Batch, ItemBatcher, Model, Script, ScriptedMetric, in_two_parts_is_as_in_one, items, learner,
    shuffling, stopping_after, train_from,
};
use system_tests::run_files::{checkpoints, run_dir};

type Data = Arc<dyn DataLoader<Batch>>;

fn with_loss(training: SupervisedTraining<Model>) -> SupervisedTraining<Model> {
    training.metrics((LossMetric::new(),))
}

#[test]
fn a_failure_in_any_part_of_an_epoch_leaves_no_trace_in_what_comes_after() {
    // An epoch has five batches.
    in_two_parts_is_as_in_one(&|| shuffling(2 * BATCH), &[2, 5, 6, 8, 10], with_loss);
}

#[test]
fn nor_does_one_between_two_updates_with_gradients_accumulated() {
    // The 14th batch is the fourth of its epoch, after which there is the first update; the 16th comes after
    // it.
    in_two_parts_is_as_in_one(&|| shuffling(BATCH), &[13, 14, 16, 20], |training| {
        with_loss(training).grads_accumulation(4)
    });
}

#[test]
fn burns_loader_continues_in_its_order_with_up_to_one_worker() {
    for workers in [0, 1] {
        let loader = || -> Data {
            let loader = DataLoaderBuilder::new(ItemBatcher).batch_size(2 * BATCH).shuffle(3);
            loader.num_workers(workers).build(items())
        };
        // In the second epoch, and in the third one's middle: an epoch has five batches.
        in_two_parts_is_as_in_one(&loader, &[6, 13], with_loss);
    }
}

#[test]
fn early_stopping_stops_where_it_would_have() {
    // The best epoch is the first one. With a count that started from the beginning after the resume, the run
    // would train for longer.
    const SCORES: [f64; 8] = [1.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.2];
    let run = |root: &Path, epochs: usize, scores: &[f64]| {
        let metric = ScriptedMetric::new("Score", scores);
        let stopping = stopping_after(4, &metric);
        let config = config(root, epochs).with_primary_metric("val_score");
        let set_up = |training: SupervisedTraining<Model>| {
            training.metric_valid_numeric(metric).early_stopping(stopping)
        };
        let data = || shuffling(BATCH);
        train_from(config.with_ckpt_path("auto"), &data, learner(Script::default()), set_up).unwrap()
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(run(whole.path(), 8, &SCORES).epochs, 5);
    assert_eq!(run(parts.path(), 3, &SCORES[..3]).epochs, 3);
    assert_eq!(run(parts.path(), 8, &SCORES[3..]).epochs, 5);
    // And a run that early stopping has ended is done.
    let again = run(parts.path(), 8, &SCORES);
    assert!(again.finished_before && again.saves == 0, "{} epochs", again.epochs);
    // In another directory, where there are no metric files of the epochs before.
    let elsewhere = tempfile::tempdir().unwrap();
    let last = checkpoints(parts.path()).join("last.ckpt");
    std::fs::create_dir(elsewhere.path().join("copy")).unwrap();
    for (from, to) in [(last.clone(), "last.ckpt"), (metadata_of(&last), "last.ckpt.metadata.json")] {
        std::fs::copy(from, elsewhere.path().join("copy").join(to)).unwrap();
    }
    let config = config(elsewhere.path(), 8).with_primary_metric("val_score");
    let config = config.with_ckpt_path(elsewhere.path().join("copy/last.ckpt").to_str().unwrap());
    let metric = ScriptedMetric::new("Score", &SCORES);
    let stopping = stopping_after(4, &metric);
    let result = train_from(config, &|| shuffling(BATCH), learner(Script::default()), |training| {
        training.metric_valid_numeric(metric).early_stopping(stopping)
    });
    let Err(Error::Config { setting, reason }) = result else { panic!("a new run that trains nothing") };
    assert_eq!(setting, "ckpt_path");
    assert!(reason.contains("ends the run before its first step (a rule of the program)"), "{reason}");
}

fn metadata_of(checkpoint: &Path) -> std::path::PathBuf {
    format!("{}.metadata.json", checkpoint.display()).into()
}

#[test]
fn a_checkpoint_alone_brings_the_history_of_its_epoch_along() {
    let (whole, parts, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = || shuffling(BATCH);
    train_from(config(whole.path(), 2), &data, learner(Script::default()), with_loss).unwrap();
    let failing = learner(Script { panic_in_step: Some(17), ..Script::default() });
    let error = train_from(config(parts.path(), 2), &data, failing, with_loss).map(|_| ()).unwrap_err();
    let Error::Panicked { saved: Some(saved), .. } = error else { panic!("{error}") };
    let config = config(other.path(), 2).with_ckpt_path(saved.to_str().unwrap());
    train_from(config, &data, learner(Script::default()), with_loss).unwrap();
    for file in ["train/epoch-2/Loss.log", "valid/epoch-2/Loss.log"] {
        let read = |root: &Path| std::fs::read_to_string(run_dir(root).join(file)).unwrap();
        assert_eq!(read(whole.path()), read(other.path()), "{file}");
    }
}

#[test]
fn another_batch_size_continues_with_the_items_that_are_left() {
    let root = tempfile::tempdir().unwrap();
    let failing = learner(Script { panic_in_step: Some(4), ..Script::default() });
    assert!(train_from(config(root.path(), 1), &|| shuffling(BATCH), failing, with_loss).is_err());
    let every_step = Last::new().with_every_n_steps(1).with_topk(TopK::All);
    let config =
        config(root.path(), 1).with_strategies([StrategyConfig::Last(every_step)]).with_ckpt_path("auto");
    // 3 batches of 8 items are done of 80 items: 56 are left, which are 4 batches of 16, the last one of 8.
    let result = train_from(config, &|| shuffling(2 * BATCH), learner(Script::default()), with_loss).unwrap();
    assert_eq!(result.global_step, 3 + 4);
    let checkpoint = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    let state: serde_json::Value = checkpoint.trainer_state().unwrap();
    assert_eq!(state["items"], 10 * BATCH);
}

#[test]
fn another_kind_of_optimizer_is_an_error_that_lists_the_tensors() {
    let adam = || AdamConfig::new().init();
    let sgd = || SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init();
    refuses_the_other(&adam, &sgd, "optimizer.input.weight.momentum.moment_1");
    refuses_the_other(&sgd, &adam, "optimizer.input.weight");
}

fn refuses_the_other(one: &dyn Fn() -> ModuleOptimizer, other: &dyn Fn() -> ModuleOptimizer, tensor: &str) {
    let root = tempfile::tempdir().unwrap();
    let with = |optimizer| Learner::new(learner(Script::default()).model(), optimizer, 1e-3);
    let data = || shuffling(BATCH);
    train_from(config(root.path(), 1), &data, with(one()), with_loss).unwrap();
    let last = || config(root.path(), 2).with_ckpt_path("last");
    let text = train_from(last(), &data, with(other()), with_loss).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(tensor) && text.contains("another kind of optimizer"), "{text}");
    // Nothing is lost: with the right optimizer the run resumes.
    train_from(last(), &data, with(one()), with_loss).unwrap();
}

#[test]
fn another_learning_rate_is_the_configurations() {
    let data = || shuffling(BATCH);
    let with = |rate: f64| Learner::new(learner(Script::default()).model(), AdamConfig::new().init(), rate);
    let root = tempfile::tempdir().unwrap();
    train_from(config(root.path(), 1), &data, with(1e-2), with_loss).unwrap();
    let read =
        || Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap().metadata().unwrap().tensors;
    let before = read();
    train_from(config(root.path(), 2).with_ckpt_path("last"), &data, with(1e-300), with_loss).unwrap();
    let after = read();
    assert_eq!(before["model.output.bias"], after["model.output.bias"], "steps of no length");
    let moment = "optimizer.output.bias.momentum.moment_1";
    assert_ne!(before[moment], after[moment]);

    // A schedule in place of a constant continues at the step of the run.
    let schedule = LinearLrSchedulerConfig::new(1e-2, 1e-3, 8).init().unwrap();
    let scheduled = Learner::new(learner(Script::default()).model(), AdamConfig::new().init(), schedule);
    let result =
        train_from(config(root.path(), 3).with_ckpt_path("last"), &data, scheduled, with_loss).unwrap();
    assert_eq!(result.epochs, 3);
}

/// The largest loss of an epoch: no mean over batches.
#[derive(Clone, Default)]
struct Largest(f64);

impl Metric for Largest {
    type Input = burn::train::metric::LossInput;

    fn name(&self) -> MetricName {
        Arc::new("Largest".to_owned())
    }

    fn attributes(&self) -> burn::train::metric::MetricAttributes {
        burn::train::metric::NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        input: &Self::Input,
        metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, burn::tensor::TensorReadError> {
        let mut loss = LossMetric::new();
        let entry = loss.update(input, metadata)?;
        self.0 = self.0.max(loss.value().map_or(0.0, |value| value.current()));
        Ok(entry)
    }

    fn compute(&mut self) -> Result<SerializedEntry, burn::tensor::TensorReadError> {
        Ok(SerializedEntry::new(self.0.to_string(), NumericEntry::Final(self.0).serialize()))
    }

    fn clear(&mut self) {
        self.0 = 0.0;
    }
}

impl Numeric for Largest {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.0))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.0)
    }
}

#[test]
fn a_metric_that_is_not_a_mean_covers_the_batches_after_the_resume() {
    fn largest<M: burn::train::LearnerModel>(training: SupervisedTraining<M>) -> SupervisedTraining<M>
    where
        <M as burn::train::TrainStep>::Output: Adaptor<burn::train::metric::LossInput>,
        <M as burn::train::InferenceStep>::Output: Adaptor<burn::train::metric::LossInput>,
    {
        training.metrics((LossMetric::new(), Largest::default()))
    }
    let root = tempfile::tempdir().unwrap();
    let data = || shuffling(BATCH);
    let failing = learner(Script { panic_in_step: Some(6), ..Script::default() });
    assert!(train_from(config(root.path(), 1), &data, failing, largest).is_err());
    let auto = config(root.path(), 1).with_ckpt_path("auto");
    train_from(auto, &data, learner(Script::default()), largest).unwrap();
    let log = std::fs::read_to_string(run_dir(root.path()).join("train/epoch-1/Largest.log")).unwrap();
    assert_eq!(log.lines().count(), 11, "{log}");
    let losses = log.lines().map(|line| line.split(',').next().unwrap().parse::<f64>().unwrap());
    let losses: Vec<f64> = losses.collect();
    let largest = |losses: &[f64]| losses.iter().copied().fold(0.0, f64::max);
    assert_eq!(losses[10], largest(&losses[5..10]), "a warning says so");
}
