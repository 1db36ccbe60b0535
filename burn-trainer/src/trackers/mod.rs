//! Trackers: what a run logs, sent to a program that shows runs.
//!
//! A tracker is given to [`Trainer::tracker`](crate::Trainer::tracker), or named in
//! [`TrainerConfig::trackers`](crate::TrainerConfig::trackers). It works on a thread of its own: a slow or
//! dead server neither slows nor ends training.
//!
//! | to | see | feature |
//! |---|---|---|
//! | have one table of all values in the run's directory | `CsvTracker` | `csv` |
//! | show runs in TensorBoard | `TensorBoard` | `tensorboard` |
//! | show runs on an MLflow server | `Mlflow` | `mlflow` |
//! | write one of your own | [`Tracker`] | |
//! | set how long the end of a run waits for one | [`TrackerCallback`] | |
//!
//! A run that resumes continues in its tracker without a gap and without doubles. What was logged before the
//! checkpoint and did not arrive is sent from `metrics.jsonl`; what a killed process has sent beyond the
//! checkpoint is not sent a second time.

// From top to bottom: `callback`, then `from_log`, then `worker`, then `queue` and `state_file`, then
// `sent_lines` and `tracker`. Trackers that write files have `rewritten_file`.

mod callback;
#[cfg(feature = "csv")]
mod csv;
#[cfg(any(feature = "mlflow", feature = "tensorboard"))]
mod flattened;
mod from_log;
#[cfg(feature = "mlflow")]
mod mlflow;
mod named;
mod queue;
#[cfg(any(feature = "csv", feature = "tensorboard"))]
mod rewritten_file;
#[cfg(any(feature = "mlflow", feature = "tensorboard"))]
mod scalar_name;
mod sent_lines;
mod state_file;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod tracker;
mod worker;

pub use callback::TrackerCallback;
#[cfg(feature = "csv")]
pub use csv::CsvTracker;
#[cfg(feature = "mlflow")]
pub use mlflow::Mlflow;
pub(crate) use named::{add_named, wait_at_end};
#[cfg(feature = "tensorboard")]
pub use tensorboard::TensorBoard;
pub use tracker::{StartAt, Tracker, TrackerError, TrackerResult};
