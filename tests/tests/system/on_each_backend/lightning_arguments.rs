//! Each argument of Lightning's `Trainer` and each of its callbacks has a row on the page, and those that
//! have a counterpart are trained with.

use std::path::Path;
use std::sync::Arc;

use burn::optim::SgdConfig;
use burn::train::Learner;
use burn::train::metric::LearningRateMetric;
use burn_ckpt::{Checkpoint, FromCheckpoint};
use burn_trainer::callbacks::{Ema, GradientGuard, ReduceOnPlateau};
use burn_trainer::evaluation::{ModelEvaluator, predict};
use burn_trainer::finders::{BatchSizeFinder, LearningRateFinder};
use burn_trainer::lr_scheduler::scaled;
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{EndReason, ResumableDataLoader, Trainer};
use system_tests::backend;
use system_tests::run_files::stems;

use super::from_lightning::{INPUTS, Regressor, RegressorConfig, RowBatcher, arguments, rows};

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
