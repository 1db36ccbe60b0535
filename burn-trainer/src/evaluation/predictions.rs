//! The outputs of a model in the order of the data, one batch at a time.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator};
use burn::module::Module;
use burn::train::InferenceStep;

use crate::error::{Error, Result};

/// The outputs of a model for the batches of a loader, in the loader's order. Each is computed when the
/// iterator reaches it, so that the memory does not grow with the data.
///
/// The model is used in validation mode, on its device. An error of the loader is an `Err`, and the last
/// item.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use burn::data::dataloader::DataLoader;
/// # use burn::module::Module;
/// # use burn::train::{ClassificationOutput, InferenceStep};
/// # fn run<M>(model: &M, loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>) -> burn_trainer::Result<()>
/// # where M: Module + InferenceStep<Output = ClassificationOutput> {
/// for output in &burn_trainer::evaluation::predict(model, loader) {
///     println!("{}", output?.output.argmax(1));
/// }
/// # Ok(()) }
/// ```
pub fn predict<M: Module + InferenceStep>(
    model: &M,
    loader: Arc<dyn DataLoader<M::Input>>,
) -> Predictions<M> {
    let model = model.valid();
    let loader = on_device_of(&model, loader);
    Predictions { model, loader }
}

/// A loader whose batches are on a model's device.
pub(super) fn on_device_of<M: Module, I: 'static>(
    model: &M,
    loader: Arc<dyn DataLoader<I>>,
) -> Arc<dyn DataLoader<I>> {
    // A model without parameters is on no device.
    model.devices().first().map_or_else(|| Arc::clone(&loader), |device| loader.to_device(device))
}

/// The outputs of a model: see [`predict`].
#[must_use = "nothing is computed before it is iterated over"]
pub struct Predictions<M: InferenceStep> {
    model: M,
    loader: Arc<dyn DataLoader<M::Input>>,
}

impl<M: InferenceStep> Predictions<M> {
    /// A pass over the data, from its beginning.
    #[must_use]
    pub fn iter(&self) -> PredictionsIter<'_, M> {
        PredictionsIter { model: &self.model, batches: Some(self.loader.iter()) }
    }
}

impl<'a, M: InferenceStep> IntoIterator for &'a Predictions<M> {
    type Item = Result<M::Output>;
    type IntoIter = PredictionsIter<'a, M>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A pass over the outputs of a model, of [`Predictions::iter`]: see [`predict`].
pub struct PredictionsIter<'a, M: InferenceStep> {
    model: &'a M,
    /// `None` after the end, or an error.
    batches: Option<Box<dyn DataLoaderIterator<M::Input> + 'a>>,
}

impl<M: InferenceStep> Iterator for PredictionsIter<'_, M> {
    type Item = Result<M::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.as_mut()?.next() {
            Some(Ok(batch)) => Some(Ok(self.model.step(batch))),
            Some(Err(source)) => {
                // What a loader gives after an error may leave out items.
                self.batches = None;
                Some(Err(Error::evaluation("the data loader", source)))
            }
            None => {
                self.batches = None;
                None
            }
        }
    }
}
