//! The names of values in programs that have one curve for a name.

use burn_ckpt::metrics_log::{Line, Scope};

/// The name of a metric's value: with `_step` for a batch and `_epoch` for the training of an epoch, as
/// PyTorch Lightning has them, and the metric's own name for a validation.
pub(super) fn scalar_name(line: &Line, metric: &str) -> String {
    match line.scope {
        Scope::Batch => format!("{metric}_step"),
        Scope::Epoch => format!("{metric}_epoch"),
        _ => metric.to_owned(),
    }
}
