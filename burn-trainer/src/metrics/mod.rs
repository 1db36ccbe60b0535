//! burn's metrics: their names in settings, their latest values, and the history that a checkpoint carries.
//!
//! burn gives metrics to loggers only, so `logger` is one. It fills the `table` and the `history`, and writes
//! the run's log (`metrics_log`) and burn's `metric_files`. burn's event store has the values too, but it
//! remembers the first answer for an epoch: a question in the middle of an epoch would spoil burn's early
//! stopping.
//!
//! From top to bottom: `run_metrics`, `logger`, then `metrics_log`, `table`, `history`, `resumed_means`,
//! `epoch_values`, `metric_files`, then `history_format`, `line_chunks`,
//! `earlier_lines`, `name_digest`.

mod earlier_lines;
mod epoch_values;
mod history;
mod history_format;
mod line_chunks;
mod logger;
mod metric_files;
mod metrics_log;
mod name_digest;
mod resumed_means;
mod run_metrics;
mod table;

pub(crate) use history::{HistoryAt, METRICS_LIMIT};
pub(crate) use history_format::{HISTORY_TENSORS, History, MAX_EPOCHS};
pub(crate) use logger::RunMetricLogger;
pub(crate) use logger::logger_slot::LoggerSlot;
pub(crate) use metric_files::{check_file_names, remove_metric_files};
pub(crate) use metrics_log::{
    HistoryLines, LogPosition, ResumedLog, StepOfBatch, add_earlier_epochs, remove_metrics_log,
};
pub(crate) use run_metrics::{RunMetrics, burn_epoch};
pub(crate) use table::{MetricTable, MetricsOf, SharedMetrics, is_of_validation, split_name};
