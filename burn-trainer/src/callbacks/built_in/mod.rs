//! Callbacks that are ready to use.

pub(super) mod batch_loss;
pub(crate) mod early_stopping;
pub(super) mod ema;
pub(super) mod gradient_guard;
mod metric_watch;
pub(super) mod plateau;
#[cfg(feature = "report")]
pub(crate) mod report;
mod watched_values;
