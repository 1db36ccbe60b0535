//! A trainer around burn's `Learner`: checkpoints by metric, exact resume, and metadata that says what a
//! checkpoint is and what it was made on.
//!
//! ```no_run
//! use burn::optim::AdamConfig;
//! use burn::tensor::Device;
//! use burn::train::Learner;
//! use burn_trainer::metric::MeanLoss;
//! use burn_trainer::optimizer::InitStreamed;
//! use burn_trainer::{Trainer, TrainerConfig};
//!
//! # use burn::data::dataloader::batcher::Batcher;
//! # use burn::data::dataset::InMemDataset;
//! # use burn::module::Module;
//! # use burn::nn::loss::{MseLoss, Reduction};
//! # use burn::nn::{Linear, LinearConfig};
//! # use burn::tensor::Tensor;
//! # use burn::train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
//! # use burn_ckpt::FromCheckpoint;
//! # #[derive(Module, Debug)]
//! # struct MyModel { linear: Linear }
//! # #[derive(burn::config::Config, Debug)]
//! # struct MyConfig { #[config(default = 2)] features: usize }
//! # impl MyConfig {
//! #     fn init(&self, device: &Device) -> MyModel { MyModel { linear: LinearConfig::new(self.features, 1).init(device) } }
//! # }
//! # impl FromCheckpoint for MyModel {
//! #     type Hparams = MyConfig;
//! #     fn from_hparams(hparams: &MyConfig, device: &Device) -> Self { hparams.init(device) }
//! # }
//! # type MyBatch = (Tensor<2>, Tensor<2>);
//! # impl TrainStep for MyModel {
//! #     type Input = MyBatch;
//! #     type Output = RegressionOutput;
//! #     fn step(&self, batch: MyBatch) -> TrainOutput<RegressionOutput> {
//! #         let item = InferenceStep::step(self, batch);
//! #         TrainOutput::new(self, item.loss.backward(), item)
//! #     }
//! # }
//! # impl InferenceStep for MyModel {
//! #     type Input = MyBatch;
//! #     type Output = RegressionOutput;
//! #     fn step(&self, (inputs, targets): MyBatch) -> RegressionOutput {
//! #         let output = self.linear.forward(inputs);
//! #         let loss = MseLoss::new().forward(output.clone(), targets.clone(), Reduction::Mean);
//! #         RegressionOutput::new(loss, output, targets)
//! #     }
//! # }
//! # struct MyBatcher;
//! # impl Batcher<[f32; 3], MyBatch> for MyBatcher {
//! #     fn batch(&self, items: Vec<[f32; 3]>, device: &Device) -> MyBatch {
//! #         let inputs = items.iter().flat_map(|item| [item[0], item[1]]).collect::<Vec<_>>();
//! #         let targets = items.iter().map(|item| item[2]).collect::<Vec<_>>();
//! #         let rows = items.len();
//! #         let tensor = |values: Vec<f32>, columns| {
//! #             Tensor::from_data(burn::tensor::TensorData::new(values, [rows, columns]), device)
//! #         };
//! #         (tensor(inputs, 2), tensor(targets, 1))
//! #     }
//! # }
//! # fn main() -> burn_trainer::Result<()> {
//! # let (train_set, valid_set) = (InMemDataset::new(vec![[0.0; 3]; 64]), InMemDataset::new(vec![[0.0; 3]; 16]));
//! let hparams = MyConfig::new();
//! let config = TrainerConfig::new()
//!     .with_primary_metric("val_loss") // best, last and on-exception checkpoints are on
//!     .with_max_epochs(10)
//!     .with_run_id("r1")
//!     .with_ckpt_path("auto"); // started again, it resumes from the newest checkpoint
//! let trainer = Trainer::new(config, &hparams)?;
//! let device = trainer.device(Device::default())?;
//! let train = trainer.loader(MyBatcher).batch_size(32).shuffled().build(train_set);
//! let valid = trainer.loader(MyBatcher).batch_size(32).build(valid_set);
//! let training = trainer.training(train, valid).metrics((MeanLoss::new(),));
//! let learner = Learner::new(hparams.init(&device), AdamConfig::new().init_streamed(), 1e-3);
//! let result = trainer.fit(training, learner)?;
//! println!("the best checkpoint is {:?}", result.best().map(|best| &best.path));
//!
//! let best = MyModel::from_checkpoint("burn_trainer_logs/r1/best", &Device::default())?; // in any program
//! # Ok(()) }
//! ```
//!
//! | to | see |
//! |---|---|
//! | train, on one device or several | [`Trainer`] |
//! | say what is saved, when, and how many | [`TrainerConfig`], [`strategy`] |
//! | have a run that resumes exactly | [`ResumableDataLoader`] |
//! | have the mean of the loss, or of another number, over the items | [`metric`] |
//! | have the numbers and outputs of a trained model | [`evaluation`] |
//! | run code of your own at the events of a run: EMA, gradient clipping, early stopping | [`callbacks`] |
//! | have checkpoints outlive the machine | [`config::MirrorConfig`] (feature `mirror`) |
//! | show runs in another program, have a CSV file | [`trackers`] |
//! | validate on several data sets | [`Trainer::validation_set`] |
//! | find a learning rate, or the largest batch that fits | [`finders`] |
//! | have a schedule of the learning rate that can be extended | [`lr_scheduler`] |
//! | know what a model consists of | [`model_summary`] |
//! | load a checkpoint, read a run's metrics | [`burn_ckpt`] |
//! | save without copies of the optimizer | [`optimizer`] |
//! | parse the flags that training programs share | `cli` (feature `cli`) |
//! | know what a run was made on | [`environment`] |
//! | train on devices of other machines | [`remote`] (feature `remote`) |
//! | train with a loop of burn's or of your own | [`Trainer::fit_with`], [`burn_loops`] |
//!
//! # What is exact
//!
//! A run that was stopped or killed anywhere, and resumed, ends with the same bytes as one that never
//! stopped: model, optimizer, scheduler, best list and metric files. That holds on a device that computes the
//! same way each time, with a [`ResumableDataLoader`] (or burn's own with at most one worker).
//!
//! *Random numbers* are exact if they are drawn from the device in a training step or a validation (dropout,
//! noise). The device is seeded before every batch, with a function of [`TrainerConfig::seed`], the epoch and
//! the batch. Two kinds are not exact. A program's own generators: use
//! [`ResumableDataLoaderBuilder::transform`], which gives a seed for every item. Numbers that a batcher draws
//! from the device: the order of worker threads is not fixed, all flex devices of a process share one stream,
//! and the training step's seed may come in between.
//!
//! *Saves fall on optimizer steps.* Gradients accumulated since the last step are not saved; their batches
//! are repeated.
//!
//! *Metrics that are not means over batches* (burn's AUROC, for one): after a resume in the middle of an
//! epoch they cover only the rest of that epoch's training batches; a warning says so. burn's metric objects
//! cannot be saved.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Tests make and break files as they please.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod burn_loops;
pub mod callbacks;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
mod dataloader;
mod error;
pub mod evaluation;
pub mod finders;
mod learner_state;
pub mod lr_scheduler;
pub mod metric;
mod metrics;
mod mirror;
mod model_summary;
pub mod optimizer;
pub mod process;
pub mod remote;
mod result;
mod retry_pause;
mod run;
mod run_files;
mod run_speed;
mod saving;
mod state;
mod stopping;
pub mod strategy;
pub mod trackers;
mod trainer;
mod training_loop;
mod validation_sets;

/// Checkpoints on disk, and loading a model from one.
pub use burn_ckpt;
/// A checkpoint in [`FitResult::checkpoints`].
#[doc(inline)]
pub use burn_ckpt::retention::SavedCheckpoint;
/// What a run was made on: machine, software, repository, scheduler.
pub use burn_environment as environment;
pub use burn_environment::program;
pub use config::TrainerConfig;
pub use dataloader::{ResumableDataLoader, ResumableDataLoaderBuilder};
pub use error::{Error, Result, SkippedCheckpoint};
pub use mirror::MirrorResult;
#[cfg(feature = "mirror")]
#[doc(hidden)]
pub use mirror::connect_by;
pub use model_summary::{ModelSummary, ModuleSummary, model_summary};
#[cfg(feature = "mimalloc")]
pub use process::KeepingAllocator;
/// For servers of devices, which stop on the same signals.
#[cfg(unix)]
#[doc(hidden)]
pub use process::is_ignored;
pub use result::FitResult;
pub use run_speed::RunSpeed;
pub use state::end_reason::{EndReason, RunOutcome};
pub use trainer::Trainer;
