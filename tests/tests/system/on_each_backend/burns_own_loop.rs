//! What burn's own loop does, ours does too: the same parameters to the last bit, and every part of burn's
//! that a user can plug in keeps working.

use std::sync::{Arc, Mutex};

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::train::logger::{InMemoryMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{LearningRateMetric, LossMetric, MetricDefinition, NumericEntry};
use burn::train::{Learner, SupervisedTraining};
use burn_ckpt::Section;
use burn_trainer::Trainer;
use burn_trainer::process::PlainRenderer;
use system_tests::backend;
use system_tests::models::small::{Model, Script, ScriptedMetric, learner, loader, stopping_after};
use system_tests::run_files::{checkpoints, metadata};
use system_tests::{config, train_with};

const EPOCHS: usize = 3;

fn tensors(model: &Model) -> Vec<(String, Vec<u8>)> {
    let tensors = Section::from_module(model).tensors.into_iter();
    tensors.map(|tensor| (tensor.name.clone(), tensor.into_bytes().unwrap().to_vec())).collect()
}

/// The same model each time, with a learning rate that falls.
fn scheduled() -> Learner<Model> {
    let mut model = Model::new(Script::default(), &backend::device().autodiff());
    let same = learner(Script::default()).model().into_record();
    model = model.load_record(same);
    let schedule = LinearLrSchedulerConfig::new(1e-2, 1e-3, 8).init().unwrap();
    Learner::new(model, AdamConfig::new().init(), schedule)
}

fn set_up(training: SupervisedTraining<Model>) -> SupervisedTraining<Model> {
    training
        .metrics((LossMetric::new(),))
        .metric_train_numeric(LearningRateMetric::new())
        .grads_accumulation(4)
}

#[test]
fn the_trained_model_is_the_one_that_burns_own_loop_trains() {
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = || loader(&Script::default());
    let training =
        SupervisedTraining::new(theirs.path(), data(), data()).renderer(Box::new(PlainRenderer::new()));
    let expected = set_up(training).num_epochs(EPOCHS).launch(scheduled()).model;

    let trainer = Trainer::new(config(ours.path(), EPOCHS), &()).unwrap();
    let training = trainer.training(data(), data());
    let result = trainer.fit(set_up(training), scheduled()).unwrap();
    assert_eq!(tensors(&expected), tensors(&result.model));
    assert_eq!(result.global_step, 3 * EPOCHS as u64);

    // And burn's files of metrics are the same, learning rate included.
    for file in ["train/epoch-3/Loss.log", "train/epoch-3/Learning_Rate.log", "valid/epoch-3/Loss.log"] {
        let read = |directory: &std::path::Path| std::fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(read(theirs.path()), read(&result.run_dir), "{file}");
    }
}

#[test]
fn a_training_that_the_user_made_works_too() {
    let (own, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = || loader(&Script::default());
    let trainer = Trainer::new(config(root.path(), 1), &()).unwrap();
    let training =
        SupervisedTraining::new(own.path(), data(), data()).renderer(Box::new(PlainRenderer::new()));
    trainer.fit(training.metrics((LossMetric::new(),)), learner(Script::default())).unwrap();
    assert!(checkpoints(root.path()).join("best_val_loss.ckpt").exists());
}

#[test]
fn early_stopping_stops_and_saves_by_step_do_not_mislead_it() {
    let root = tempfile::tempdir().unwrap();
    let metric = ScriptedMetric::new("Score", &[3.0, 2.0, 4.0, 5.0, 1.0, 0.5]);
    let stopping = stopping_after(2, &metric);
    let last = burn_trainer::strategy::Last::default().with_every_n_steps(3);
    let config = config(root.path(), 6).with_primary_metric("val_score");
    let config = config.with_strategies([burn_trainer::strategy::StrategyConfig::Last(last)]);
    let result = train_with(config, Script::default(), |training| {
        training.metric_valid_numeric(metric).early_stopping(stopping)
    });
    assert_eq!(result.unwrap().epochs, 4);
    assert_eq!(metadata(&checkpoints(root.path()).join("last.ckpt"))["epoch"], 3);
}

/// Hands everything on to one of burn's loggers, and counts.
struct Counting(Arc<Mutex<(usize, InMemoryMetricLogger)>>);

impl MetricLogger for Counting {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        inner.1.log(update, epoch, split);
    }

    fn read_numeric(&mut self, name: &str, epoch: usize, split: &Split) -> Result<Vec<NumericEntry>, String> {
        self.0.lock().unwrap().1.read_numeric(name, epoch, split)
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.0.lock().unwrap().1.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        self.0.lock().unwrap().1.log_epoch_summary(summary);
    }
}

#[test]
fn a_logger_of_the_user_gets_every_update_beside_ours() {
    let root = tempfile::tempdir().unwrap();
    let inner = Arc::new(Mutex::new((0, InMemoryMetricLogger::new())));
    let logger = Counting(Arc::clone(&inner));
    let result = train_with(config(root.path(), 2), Script::default(), |training| {
        training.metrics((LossMetric::new(),)).with_metric_logger(logger)
    });
    // Ten batches and the epoch's result, for each split and epoch.
    assert_eq!(inner.lock().unwrap().0, 2 * 2 * 11);
    assert!(result.unwrap().run_dir.join("train/epoch-2/Loss.log").exists());
}
