//! Numbers and outputs of a trained model: [`evaluate`] computes metrics on a data set and returns them,
//! [`predict`] gives a model's outputs in the order of the data.
//!
//! ```no_run
//! # use std::path::Path;
//! # use std::sync::Arc;
//! # use burn::data::dataloader::DataLoader;
//! # use burn::tensor::Device;
//! # use burn::train::metric::{AccuracyInput, AccuracyMetric, Adaptor};
//! # use burn::train::InferenceStep;
//! # use burn_ckpt::FromCheckpoint;
//! use burn_trainer::evaluation::ModelEvaluator;
//! use burn_trainer::metric::MeanLoss;
//! # use burn_trainer::metric::MeanLossInput;
//!
//! # fn run<M>(loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>) -> burn_trainer::Result<()>
//! # where M: FromCheckpoint + InferenceStep + 'static, M::Output: Adaptor<MeanLossInput> + Adaptor<AccuracyInput> {
//! let mut evaluator = ModelEvaluator::<M>::of_checkpoint("burn_trainer_logs/r1/best", &Device::default())?;
//! let evaluation = evaluator.evaluate(loader, (MeanLoss::new(), AccuracyMetric::new()))?;
//! println!("{} items: loss {}", evaluation.items, evaluation.metrics["test_loss"]);
//! evaluation.keep()?; // as JSON, beside the checkpoint
//! # Ok(()) }
//! ```
//!
//! A model is evaluated in validation mode: without dropout, and with the running statistics of its training.
//! Neither needs a [`Trainer`](crate::Trainer), which holds the lock of its run: a run can be evaluated while
//! it trains.

// From top to bottom: `evaluation_file`, `evaluator`, then `processor`, `predictions`, then `metric_list`,
// `result`.

mod evaluation_file;
mod evaluator;
mod metric_list;
mod predictions;
mod processor;
mod result;

pub use evaluator::{ModelEvaluator, evaluate};
pub use metric_list::{EvaluationMetrics, MetricList};
pub use predictions::{Predictions, PredictionsIter, predict};
pub use result::{EvaluatedCheckpoint, Evaluation};
