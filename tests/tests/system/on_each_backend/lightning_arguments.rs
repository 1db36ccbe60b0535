//! Each argument of Lightning's `Trainer` and each of its callbacks has a row on the page, and those that
//! have a counterpart are trained with.

use std::path::Path;
use std::sync::Arc;

use burn::config::Config;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::metric::LearningRateMetric;
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::{Checkpoint, FromCheckpoint};
use burn_trainer::callbacks::{Ema, GradientGuard, ReduceOnPlateau};
use burn_trainer::evaluation::{ModelEvaluator, evaluate, predict};
use burn_trainer::finders::{BatchSizeFinder, LearningRateFinder};
use burn_trainer::lr_scheduler::{WarmupCosine, scaled};
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{EndReason, ResumableDataLoader, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::run_files::stems;

use super::from_lightning::{Batch, INPUTS, Regressor, RegressorConfig, RowBatcher, arguments, rows};

/// The arguments of `pytorch_lightning.Trainer` 2.6.6.
const ARGUMENTS: [&str; 41] = [
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "precision",
    "logger",
    "callbacks",
    "fast_dev_run",
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "num_sanity_val_steps",
    "log_every_n_steps",
    "enable_checkpointing",
    "enable_progress_bar",
    "enable_model_summary",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "deterministic",
    "benchmark",
    "inference_mode",
    "use_distributed_sampler",
    "profiler",
    "detect_anomaly",
    "barebones",
    "plugins",
    "sync_batchnorm",
    "reload_dataloaders_every_n_epochs",
    "default_root_dir",
    "enable_autolog_hparams",
    "model_registry",
];

/// `pytorch_lightning.callbacks.__all__` of 2.6.6.
const CALLBACKS: [&str; 26] = [
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "BatchSizeFinder",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EarlyStopping",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelPruning",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "StochasticWeightAveraging",
    "SpikeDetection",
    "ThroughputMonitor",
    "Timer",
    "TQDMProgressBar",
    "EMAWeightAveraging",
    "WeightAveraging",
];

#[test]
fn the_arguments_and_callbacks_of_lightning_have_counterparts_that_train() {
    let directory = tempfile::tempdir().unwrap();
    let hparams = RegressorConfig::new(INPUTS).with_hidden(8);
    let config = arguments(directory.path()).with_run_id("r1");
    let trainer = Trainer::new(config, &hparams)
        .unwrap()
        .callback(GradientGuard::new().with_clip_norm(1.0)) // gradient_clip_val
        .callback(ReduceOnPlateau::new("val_loss").with_patience(1))
        .callback(Ema::new(0.9)); // EMAWeightAveraging
    let device = trainer.device(backend::device()).unwrap(); // accelerator
    // 48 rows are 12 batches, of which 6 are used; 2 batches make a step.
    let train = trainer.loader(RowBatcher).batch_size(4).num_workers(2).shuffled().build(rows(48));
    let valid = trainer.loader(RowBatcher).batch_size(4).build(rows(12));
    let hard = trainer.loader(RowBatcher).batch_size(4).build(rows(20));
    // val_dataloaders=[valid, hard]
    let trainer = trainer.validation_set("hard", hard);
    let training = trainer
        .training(Arc::clone(&train), valid)
        .metrics((MeanLoss::new(),))
        .metric_train_numeric(LearningRateMetric::new()) // LearningRateMonitor
        .grads_accumulation(1); // accumulate_grad_batches
    let (model, optimizer) = (Regressor::from_hparams(&hparams, &device), SgdConfig::new().init_streamed());
    let sweep = LearningRateFinder::new().with_steps(20);
    trainer.find_learning_rate(sweep, &train, &model, &optimizer).unwrap();
    let loader = |size| trainer.loader(RowBatcher).batch_size(size).build(rows(48));
    let sizes = BatchSizeFinder::new().with_max_size(8).with_memory_limit(1 << 50);
    assert_eq!(trainer.find_batch_size(sizes, loader, &model, &optimizer).unwrap().batch_size, 8);
    let learner = Learner::new(model, optimizer, scaled(0.05));
    let result = trainer.fit(training, learner).unwrap();

    assert_eq!((result.global_step, result.epochs), (18, 3), "max_steps, of 6 batches an epoch");
    assert_eq!(result.outcome.end_reason(), Some(&EndReason::MaxSteps(18)));
    for name in ["val_loss", "val_hard_loss", "train_grad_norm", "train_learning_rate"] {
        assert!(result.metrics.contains_key(name), "{name}: {:?}", result.metrics);
    }
    let speed = result.speed.unwrap();
    assert_eq!((speed.steps, speed.items), (18, 72));
    let found = stems(&result.run_dir.join("checkpoint"));
    assert!(found.iter().any(|name| name == "last/epoch=2-step=18"), "{found:?}");
    assert_eq!(found.iter().filter(|name| name.starts_with("best/")).count(), 2, "{found:?}");
    let best = Checkpoint::open(result.run_dir.join("best")).unwrap().metadata().unwrap();
    assert!([5, 10, 15].contains(&best.global_step), "validated every 5 steps: {}", best.global_step);
    let averaged =
        Regressor::loader(result.run_dir.join("best")).part("ema").load(&backend::device()).unwrap();

    let loader = || ResumableDataLoader::builder(RowBatcher).batch_size(4).build(rows(12));
    let mut evaluator = ModelEvaluator::of_loaded(&averaged).unwrap().limit_batches(2_u64);
    let evaluation = evaluator.evaluate(loader(), (MeanLoss::new(),)).unwrap();
    assert_eq!(
        evaluation.metrics["test_loss"], best.metrics["val_loss"],
        "the average was validated on two batches"
    );
    assert_eq!(predict(&averaged.model, loader()).iter().take(2).count(), 2);
}

/// The hyperparameters of a step, beside those of the module.
#[derive(Config, Debug)]
pub struct WeightedConfig {
    pub regressor: RegressorConfig,
    pub loss_weights: Vec<f32>,
}

#[derive(Module, Debug)]
pub struct Weighted {
    regressor: Regressor,
    #[module(skip)]
    loss_weights: Vec<f32>,
}

impl FromCheckpoint for Weighted {
    type Hparams = WeightedConfig;

    fn from_hparams(hparams: &WeightedConfig, device: &Device) -> Self {
        let regressor = Regressor::from_hparams(&hparams.regressor, device);
        Self { regressor, loss_weights: hparams.loss_weights.clone() }
    }
}

impl Weighted {
    fn regress(&self, batch: Batch) -> RegressionOutput {
        let output = self.regressor.regress(batch);
        RegressionOutput { loss: output.loss * self.loss_weights[1], ..output }
    }
}

impl TrainStep for Weighted {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let item = self.regress(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Weighted {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.regress(batch)
    }
}

#[test]
fn a_step_has_the_hyperparameters_that_the_module_was_built_with_and_a_checkpoint_has_them_too() {
    let directory = tempfile::tempdir().unwrap();
    let hparams = WeightedConfig::new(RegressorConfig::new(INPUTS).with_hidden(8), vec![1.0, 0.5]);
    let config = TrainerConfig::new().with_primary_metric("val_loss").with_root(directory.path());
    let trainer = Trainer::new(config, &hparams).unwrap();
    let device = trainer.device(backend::device()).unwrap();
    let rows = || trainer.loader(RowBatcher).batch_size(4).build(rows(12));
    let training = trainer.training(rows(), rows()).metrics((MeanLoss::new(),));
    let model = Weighted::from_hparams(&hparams, &device);
    // Nothing is learned: each loss is that of the same parameters.
    let result = trainer.fit(training, Learner::new(model, SgdConfig::new().init_streamed(), 0.0)).unwrap();

    let best = result.run_dir.join("best");
    let loaded = Weighted::from_checkpoint(&best, &backend::device()).unwrap();
    assert_eq!(loaded.loss_weights, [1.0, 0.5]);
    let whole = |h: WeightedConfig| WeightedConfig { loss_weights: vec![1.0, 1.0], ..h };
    let whole = Weighted::from_checkpoint_with(&best, &backend::device(), whole).unwrap();
    let loader = || ResumableDataLoader::builder(RowBatcher).batch_size(4).build(self::rows(12));
    let loss = |model| evaluate(model, loader(), (MeanLoss::new(),)).unwrap().metrics["test_loss"];
    assert_eq!(loss(&loaded), result.metrics["val_loss"]);
    assert_eq!(loss(&loaded), 0.5 * loss(&whole));
}

#[test]
fn the_schedule_of_the_page_is_that_of_the_whole_run() {
    let directory = tempfile::tempdir().unwrap();
    let config = TrainerConfig::new().with_root(directory.path()).with_max_epochs(4);
    let trainer = Trainer::<Regressor>::new(config, &RegressorConfig::new(INPUTS)).unwrap();
    let train = trainer.loader(RowBatcher).batch_size(4).build(rows(40));
    let of_page = WarmupCosine::new(3e-4, trainer.optimizer_steps(&*train, 1).unwrap());
    assert_eq!(of_page.with_warmup_steps(500), WarmupCosine::new(3e-4, 4 * 10).with_warmup_steps(500));
}

#[test]
fn the_page_has_each_argument_and_each_callback_of_lightning_once() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(workspace.join("docs/from-lightning.md")).unwrap();
    let section = |title: &str| page.split(title).nth(1).unwrap().split("\n## ").next().unwrap();
    let named = |section: &str| -> Vec<String> {
        let rows = section.lines().skip_while(|line| *line != "|---|---|");
        let cells = rows.filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        cells.flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned)).collect()
    };
    for (title, expected) in [("## Every argument", &ARGUMENTS[..]), ("## Every callback", &CALLBACKS[..])] {
        let mut named = named(section(title));
        named.sort();
        let mut expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        assert_eq!(named, expected, "{title}");
    }
}
