//! The page for people who come from PyTorch Lightning: its Rust snippets are parts of this file, and here
//! they run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn::config::Config;
use burn::data::dataloader::DataLoader;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::AdamWConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LearningRateMetric;
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::callbacks::GradientGuard;
use burn_trainer::config::{EarlyStopping, ProgressMode, ValidateAtStart, Validation};
use burn_trainer::evaluation::{Evaluation, ModelEvaluator, evaluate, predict};
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::{
    Best, CheckpointOutput, Interval, KeepRule, Last, OnException, RunProgress, SaveDecision, Strategy, TopK,
    TrainingEvent,
};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::tensor::TensorData;
use burn_ckpt::Checkpoint;
use burn_trainer::ResumableDataLoader;
use system_tests::backend;
use system_tests::run_files::stems;

pub const INPUTS: usize = 3;

#[derive(Debug, Clone)]
pub struct Row([f32; INPUTS], f32);

#[derive(Debug, Clone)]
pub struct RowBatcher;

#[derive(Debug, Clone)]
pub struct Batch {
    pub inputs: Tensor<2>,
    pub targets: Tensor<2>,
}

impl Batcher<Row, Batch> for RowBatcher {
    fn batch(&self, rows: Vec<Row>, device: &Device) -> Batch {
        let count = rows.len();
        let inputs: Vec<f32> = rows.iter().flat_map(|row| row.0).collect();
        let targets: Vec<f32> = rows.iter().map(|row| row.1).collect();
        Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [count, INPUTS]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count, 1]), device),
        }
    }
}

pub fn rows(count: usize) -> InMemDataset<Row> {
    let row = |number: usize| {
        let inputs: [f32; INPUTS] = std::array::from_fn(|i| ((number * 31 + i * 17) % 83) as f32 / 83.0);
        Row(inputs, inputs.iter().sum::<f32>() - 1.0)
    };
    InMemDataset::new((0..count).map(row).collect())
}

#[derive(Config, Debug)]
pub struct RegressorConfig {
    pub inputs: usize,
    #[config(default = 64)]
    pub hidden: usize,
    #[config(default = 0.1)]
    pub dropout: f64,
    #[config(default = 1e-3)]
    pub learning_rate: f64,
}

#[derive(Module, Debug)]
pub struct Regressor {
    hidden: Linear,
    dropout: Dropout,
    output: Linear,
}

impl FromCheckpoint for Regressor {
    type Hparams = RegressorConfig;

    fn from_hparams(hparams: &RegressorConfig, device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(hparams.inputs, hparams.hidden).init(device),
            dropout: DropoutConfig::new(hparams.dropout).init(),
            output: LinearConfig::new(hparams.hidden, 1).init(device),
        }
    }
}

impl Regressor {
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.dropout.forward(relu(self.hidden.forward(inputs))))
    }

    pub fn regress(&self, batch: Batch) -> RegressionOutput {
        let output = self.forward(batch.inputs);
        let loss = MseLoss::new().forward(output.clone(), batch.targets.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, batch.targets)
    }
}

impl TrainStep for Regressor {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let item = self.regress(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Regressor {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.regress(batch)
    }
}

fn fit(config: TrainerConfig, hparams: &RegressorConfig, device: Device) -> Result<FitResult<Regressor>> {
    let config = config.with_early_stopping(EarlyStopping::new("val_loss").with_patience(10));
    let trainer = Trainer::new(config, hparams)?
        .callback(GradientGuard::new().with_clip_value(0.5))
        .strategy(EveryTenthEpoch);
    let device = trainer.device(device)?;

    let train = trainer.loader(RowBatcher).batch_size(8).num_workers(2).shuffled().build(rows(40));
    let valid = trainer.loader(RowBatcher).batch_size(8).num_workers(2).build(rows(10));
    let training = trainer
        .training(train, valid)
        .metrics((MeanLoss::new(),))
        .metric_train_numeric(LearningRateMetric::new())
        .grads_accumulation(2);

    let model = Regressor::from_hparams(hparams, &device);
    let schedule = CosineAnnealingLrSchedulerConfig::new(hparams.learning_rate, 1000).init().unwrap();
    trainer.fit(training, Learner::new(model, AdamWConfig::new().init_streamed(), schedule))
}

fn config() -> TrainerConfig {
    TrainerConfig::new()
        .with_primary_metric("val_loss")
        .with_best(Best::new().with_topk(3).with_filename("epoch={epoch:02}-val_loss={val_loss:.2}"))
        .with_last(
            Last::new()
                .with_every_n_steps(1000)
                .with_save_on_time_interval(Interval(Duration::from_secs(15 * 60))),
        )
}

struct EveryTenthEpoch;

impl Strategy for EveryTenthEpoch {
    fn name(&self) -> String {
        "every_tenth_epoch".to_owned()
    }

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new("every_tenth_epoch").with_filename("epoch={epoch}").with_weights_only(true)
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        match event {
            TrainingEvent::EpochEnd if (progress.epoch + 1).is_multiple_of(10) => {
                SaveDecision::Save { score: f64::NAN, reason: "every tenth epoch".to_owned() }
            }
            _ => SaveDecision::Skip,
        }
    }
}

fn resume_or_start(
    config: &TrainerConfig,
    hparams: &RegressorConfig,
    device: &Device,
) -> Result<FitResult<Regressor>> {
    let result = fit(config.clone().with_ckpt_path("auto"), hparams, device.clone())?;
    if let Some(best) = result.best() {
        println!("{} {}", best.path.display(), best.score);
    }
    Ok(result)
}

fn load(run: &Path, device: &Device) -> burn_ckpt::Result<()> {
    let model = Regressor::from_checkpoint(run.join("best"), device)?;
    let without_dropout = Regressor::from_checkpoint_with(run.join("best"), device, |h| h.with_dropout(0.0))?;
    let hparams = Regressor::hparams_from_checkpoint(run.join("best"))?;

    assert_eq!((model.dropout.prob, without_dropout.dropout.prob, hparams.inputs), (0.1, 0.0, INPUTS));
    let untyped = Checkpoint::open(run.join("best"))?.hparams::<serde_json::Value>()?;
    let metadata = Checkpoint::open(run.join("best"))?.metadata()?;
    assert_eq!((&metadata.hparams, metadata.hparams["hidden"].as_u64()), (&untyped, Some(8)));
    let renamed = Regressor::loader(run.join("best")).remap_keys("^hidden\\.", "backbone.");
    let loaded = renamed.allow_partial(true).allow_unused(true).load(device)?;
    assert_eq!((loaded.report.missing.len(), loaded.report.unused.len()), (2, 2), "{}", loaded.report);
    Ok(())
}

fn test(result: FitResult<Regressor>, loader: Arc<dyn DataLoader<Batch>>) -> Result<Evaluation> {
    let evaluation = evaluate(&result.model, loader.clone(), (MeanLoss::new(),))?;
    println!("loss {}", evaluation.metrics["test_loss"]);

    let device = result.model.devices()[0].clone();
    let mut best = ModelEvaluator::<Regressor>::of_checkpoint(result.run_dir.join("best"), &device)?;
    let evaluation = best.evaluate(loader.clone(), (MeanLoss::new(),))?;
    evaluation.keep()?; // beside the checkpoint

    for output in &predict(&result.best_model(&device)?, loader) {
        println!("{}", output?.output);
    }
    Ok(evaluation)
}

/// Lightning's arguments, with which `lightning_arguments.rs` trains.
pub fn arguments(root: &Path) -> TrainerConfig {
    TrainerConfig::new()
        .with_max_epochs(4)
        .with_min_epochs(2)
        .with_min_steps(10)
        .with_max_steps(18)
        .with_max_time(Interval(Duration::from_secs(12 * 3600)))
        .with_limit_train_batches(0.5)
        .with_limit_valid_batches(2)
        .with_validation(Validation::every_n_steps(5)) // val_check_interval
        .with_validate_at_start(ValidateAtStart::Batches(2)) // num_sanity_val_steps
        .with_progress(ProgressMode::Off) // enable_progress_bar
        .with_model_summary_depth(2) // enable_model_summary
        .with_root(root) // default_root_dir
        .with_seed(7) // seed_everything
        .with_early_stopping(EarlyStopping::new("val_loss").with_patience(10).with_min_delta(1e-6))
        .with_primary_metric("val_loss") // enable_checkpointing
        .with_best(Best::new().with_topk(2)) // ModelCheckpoint(save_top_k=2)
        .with_last(Last::new().with_every_n_steps(3)) // ModelCheckpoint(every_n_train_steps=3)
        .with_on_exception(OnException::new()) // OnExceptionCheckpoint
}

#[test]
fn the_pages_program_trains_resumes_is_loaded_and_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    let config = config().with_root(directory.path()).with_run_id("r1");
    let (hparams, device) = (RegressorConfig::new(INPUTS).with_hidden(8), backend::device());

    let first = resume_or_start(&config.clone().with_max_epochs(4), &hparams, &device).unwrap();
    assert_eq!((first.epochs, first.global_step, first.resumed_from), (4, 4 * 3, None));
    let result = resume_or_start(&config.with_max_epochs(10), &hparams, &device).unwrap();
    assert_eq!((result.epochs, result.global_step), (10, 10 * 3));
    assert!(result.resumed_from.is_some());
    assert_eq!(
        result.metrics.keys().collect::<Vec<_>>(),
        ["train_loss", "train_learning_rate", "train_grad_norm", "val_loss"]
    );

    let run = result.run_dir.clone();
    let found = stems(&run.join("checkpoint"));
    let count = |start: &str| found.iter().filter(|name| name.starts_with(start)).count();
    let counts = ["best/epoch=", "last/epoch=09", "last/", "every_tenth_epoch/epoch=9"].map(count);
    assert_eq!(counts, [3, 0, 1, 1], "{found:?}");
    load(&run, &backend::device()).unwrap();
    let best = result.best().unwrap().score;
    let evaluation = test(result, ResumableDataLoader::builder(RowBatcher).batch_size(8).build(rows(10)));
    assert_eq!(evaluation.unwrap().metrics["test_loss"], best, "on the validation data");
}

/// Lines without their indentation, which is another one within a function.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_start).collect()
}

#[test]
fn every_snippet_of_the_page_is_compiled() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(workspace.join(path)).unwrap();
    let page = read("docs/from-lightning.md");
    let here = ["from_lightning.rs", "lightning_arguments.rs"]
        .map(|file| read(&format!("tests/tests/system/on_each_backend/{file}")))
        .concat();
    let here = lines(&here);
    let snippets: Vec<&str> =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(snippets.len() > 5, "{}", snippets.len());
    for snippet in snippets {
        let wanted = lines(snippet);
        assert!(here.windows(wanted.len()).any(|lines| lines == wanted), "not compiled anywhere:\n{snippet}");
    }
}
