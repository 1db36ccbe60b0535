//! The mean of a number that a program names: `self.log` of a Lightning module.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::DECIMALS;

/// A batch's mean or the values of its items, and the number of its items.
type Number<T> = dyn Fn(&T) -> (Tensor<1>, usize) + Send + Sync;

/// The mean of a number over the items of an epoch, whatever the sizes of its batches.
///
/// A function gets the number from what a step returned: the batch's mean, or a value for each item, and the
/// number of items in the batch. The output adapts to itself, once for all such metrics. Lower is better,
/// unless [`higher_is_better`](Self::higher_is_better) says otherwise.
///
/// ```no_run
/// use burn::tensor::Tensor;
/// use burn::train::metric::Adaptor;
/// use burn_trainer::metric::MeanOf;
/// # use burn::tensor::ExecutionError;
/// # use burn::train::metric::ItemLazy;
/// # use burn::train::{InferenceStep, LearnerModel, SupervisedTraining, TrainStep};
///
/// /// The output of a step.
/// #[derive(Clone)]
/// struct Reconstruction {
///     loss: Tensor<1>,
///     mse: Tensor<1>,    // the batch's mean
///     psnr: Tensor<1>,   // [batch]
///     images: Tensor<4>, // [batch, channels, height, width]
/// }
///
/// impl Adaptor<Reconstruction> for Reconstruction {
///     fn adapt(&self) -> Reconstruction {
///         self.clone()
///     }
/// }
/// # impl ItemLazy for Reconstruction {
/// #     fn sync(self) -> Result<Self, ExecutionError> { Ok(self) }
/// # }
///
/// # fn train<M: LearnerModel>(training: SupervisedTraining<M>)
/// # where M: TrainStep<Output = Reconstruction> + InferenceStep<Output = Reconstruction> {
/// // train_recon_mse, val_recon_mse, train_psnr, val_psnr
/// let mse = MeanOf::new("Recon MSE", |it: &Reconstruction| (it.mse.clone(), it.images.dims()[0]));
/// let psnr = MeanOf::new("PSNR", |it: &Reconstruction| (it.psnr.clone(), it.images.dims()[0]));
/// let training = training.metrics((mse, psnr.higher_is_better(true)));
/// # }
/// ```
///
/// An output of burn's adapts to a type of yours in the same way. `T` is the type that the function gets.
pub struct MeanOf<T> {
    name: MetricName,
    number: Arc<Number<T>>,
    higher_is_better: bool,
    state: NumericMetricState,
}

impl<T> MeanOf<T> {
    /// The metric of an epoch without a batch yet. Two metrics of a program need two names.
    ///
    /// `number` returns the mean over the batch, or a value for each item, and the number of items in the
    /// batch.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        number: impl Fn(&T) -> (Tensor<1>, usize) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: Arc::new(name.into()),
            number: Arc::new(number),
            higher_is_better: false,
            state: NumericMetricState::default(),
        }
    }

    /// Sets whether the best checkpoint is that of the highest value. By default it is that of the lowest.
    #[must_use]
    pub fn higher_is_better(mut self, higher: bool) -> Self {
        self.higher_is_better = higher;
        self
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name()).precision(DECIMALS)
    }
}

/// Also where `T` is not [`Clone`].
impl<T> Clone for MeanOf<T> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            number: Arc::clone(&self.number),
            higher_is_better: self.higher_is_better,
            state: self.state.clone(),
        }
    }
}

impl<T> Metric for MeanOf<T> {
    type Input = T;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn description(&self) -> Option<String> {
        Some(format!("The mean of {} over the items.", self.name))
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, input: &T, _metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let (number, items) = (self.number)(input);
        self.state.update(number.mean().try_into_scalar::<f64>()?, items);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl<T> Numeric for MeanOf<T> {
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
