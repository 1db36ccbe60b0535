//! The mean of the loss, and what it is computed from.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::{ClassificationOutput, MultiLabelClassificationOutput, RegressionOutput, SequenceOutput};

use super::DECIMALS;

/// The mean of the loss over the items of an epoch, whatever the sizes of its batches. Called `Loss`, as
/// burn's: settings and files have `train_loss` and `val_loss`.
///
/// Each batch's mean loss counts as often as the batch has items. burn's outputs of classification and
/// regression say how many: rows. Of a [`SequenceOutput`] the items are the tokens, padding too. Where the
/// loss leaves out padding, or for an output of your own, implement burn's `Adaptor` as [`MeanLossInput`]
/// shows, with the number of items that the loss is a mean of.
///
/// ```no_run
/// # use burn::train::{ClassificationOutput, InferenceStep, LearnerModel, SupervisedTraining, TrainStep};
/// use burn_trainer::metric::MeanLoss;
///
/// # fn train<M: LearnerModel>(training: SupervisedTraining<M>)
/// # where M: TrainStep<Output = ClassificationOutput> + InferenceStep<Output = ClassificationOutput> {
/// let training = training.metrics((MeanLoss::new(),));
/// # }
/// ```
#[derive(Clone)]
pub struct MeanLoss {
    name: MetricName,
    state: NumericMetricState,
}

/// What [`MeanLoss`] is computed from: a batch's loss, and the number of items in the batch.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn::train::metric::Adaptor;
/// use burn_trainer::metric::MeanLossInput;
///
/// /// The output of a step.
/// struct Reconstruction {
///     loss: Tensor<1>,
///     images: Tensor<4>, // [batch, channels, height, width]
/// }
///
/// impl Adaptor<MeanLossInput> for Reconstruction {
///     fn adapt(&self) -> MeanLossInput {
///         MeanLossInput::new(self.loss.clone(), self.images.dims()[0])
///     }
/// }
/// ```
pub struct MeanLossInput {
    loss: Tensor<1>,
    items: usize,
}

impl MeanLossInput {
    /// `loss` is the mean over the batch, or has a value for each item. `items` is the number of items in the
    /// batch.
    #[must_use]
    pub fn new(loss: Tensor<1>, items: usize) -> Self {
        Self { loss, items }
    }

    /// The loss alone.
    pub(crate) fn into_loss(self) -> Tensor<1> {
        self.loss
    }

    /// The mean over the batch, and the number of its items.
    pub(crate) fn mean(self) -> Result<(f64, usize), TensorReadError> {
        Ok((self.loss.mean().try_into_scalar::<f64>()?, self.items))
    }
}

impl MeanLoss {
    /// The metric of an epoch without a batch yet.
    #[must_use]
    pub fn new() -> Self {
        Self { name: Arc::new("Loss".to_owned()), state: NumericMetricState::default() }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(DECIMALS)
    }
}

impl Default for MeanLoss {
    fn default() -> Self {
        Self::new()
    }
}

impl Metric for MeanLoss {
    type Input = MeanLossInput;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn description(&self) -> Option<String> {
        Some("The mean of the loss over the items.".to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        input: &MeanLossInput,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let loss = input.loss.clone().mean().try_into_scalar::<f64>()?;
        self.state.update(loss, input.items);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for MeanLoss {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

impl Adaptor<MeanLossInput> for ClassificationOutput {
    fn adapt(&self) -> MeanLossInput {
        MeanLossInput::new(self.loss.clone(), self.targets.dims()[0])
    }
}

impl Adaptor<MeanLossInput> for MultiLabelClassificationOutput {
    fn adapt(&self) -> MeanLossInput {
        MeanLossInput::new(self.loss.clone(), self.targets.dims()[0])
    }
}

impl Adaptor<MeanLossInput> for RegressionOutput {
    fn adapt(&self) -> MeanLossInput {
        MeanLossInput::new(self.loss.clone(), self.targets.dims()[0])
    }
}

impl Adaptor<MeanLossInput> for SequenceOutput {
    fn adapt(&self) -> MeanLossInput {
        // The loss of a sequence is a mean over its tokens.
        let [batch, tokens] = self.targets.dims();
        MeanLossInput::new(self.loss.clone(), batch * tokens)
    }
}
