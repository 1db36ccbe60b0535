//! Where the gradient guard finds the loss of a batch.

use std::fmt;

use burn::tensor::Tensor;
use burn::train::metric::Adaptor;

use crate::metric::MeanLossInput;

/// Finds the loss in the output of a training step, for [`GradientGuard`](crate::callbacks::GradientGuard).
#[diagnostic::on_unimplemented(
    message = "`GradientGuard` does not find the loss in the output `{Output}` of the training step",
    note = "implement `burn::train::metric::Adaptor<burn_trainer::metric::MeanLossInput>` for it, as `MeanLoss` needs it too",
    note = "or name the loss: `GradientGuard::new().with_loss(|output: &{Output}| output.loss.clone())`",
    note = "or leave it unchecked: `GradientGuard::new().without_loss()`"
)]
pub trait BatchLoss<Output>: Send {
    /// The loss, of one element or of one for each item. `None` if it is not checked.
    fn of(&self, output: &Output) -> Option<Tensor<1>>;
}

/// The loss that [`MeanLoss`](crate::metric::MeanLoss) logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoggedLoss;

impl<Output: Adaptor<MeanLossInput>> BatchLoss<Output> for LoggedLoss {
    fn of(&self, output: &Output) -> Option<Tensor<1>> {
        Some(output.adapt().into_loss())
    }
}

/// The loss that a function of the program's finds, for
/// [`GradientGuard::with_loss`](super::gradient_guard::GradientGuard::with_loss).
#[derive(Clone)]
pub struct LossBy<F>(pub(super) F);

impl<F> fmt::Debug for LossBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LossBy")
    }
}

impl<Output, F: Fn(&Output) -> Tensor<1> + Send> BatchLoss<Output> for LossBy<F> {
    fn of(&self, output: &Output) -> Option<Tensor<1>> {
        Some((self.0)(output))
    }
}

/// No loss is checked, after
/// [`GradientGuard::without_loss`](super::gradient_guard::GradientGuard::without_loss).
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLoss;

impl<Output> BatchLoss<Output> for NoLoss {
    fn of(&self, _: &Output) -> Option<Tensor<1>> {
        None
    }
}
