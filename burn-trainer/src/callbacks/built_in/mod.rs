//! Callbacks that are ready to use.

pub(crate) mod early_stopping;
pub(super) mod ema;
pub(super) mod gradient_guard;
mod metric_watch;
pub(super) mod plateau;
