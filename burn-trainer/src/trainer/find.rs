//! `Trainer::find_learning_rate`: settings found with the trainer's devices and its step, before the run.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::ModuleOptimizer;
use burn::train::metric::Adaptor;
use burn::train::{LearnerModel, TrainStep};

use super::Trainer;
use crate::dataloader::LoaderSize;
use crate::error::Result;
use crate::finders::{LearningRateFinder, LearningRateSweep};
use crate::metric::MeanLossInput;
use crate::process::console::{note, warn};
use crate::training_loop::trial::Trial;

impl<M: LearnerModel> Trainer<M> {
    /// Tries learning rates: trains a copy of the model with a rate that grows from step to step, with this trainer's devices, data
    /// and step. The run is as if there had been no search: nothing is written, and a run after it ends with the same bytes. Model,
    /// optimizer and loader are used again.
    ///
    /// Each device is seeded with the configuration's seed at the end, as by [`Trainer::device`]. A loader that is not one of
    /// [`Trainer::loader`] may draw another order for the run after it, and a warning says so.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use burn::data::dataloader::DataLoader;
    /// # use burn::optim::AdamConfig;
    /// # use burn::train::{LearnerModel, TrainStep};
    /// # use burn::train::metric::Adaptor;
    /// # use burn_trainer::Trainer;
    /// # use burn_trainer::metric::MeanLossInput;
    /// # use burn_trainer::optimizer::InitStreamed;
    /// use burn_trainer::finders::LearningRateFinder;
    ///
    /// # fn find<M: LearnerModel>(
    /// #     trainer: Trainer<M>,
    /// #     model: M,
    /// #     train: Arc<dyn DataLoader<<M as TrainStep>::Input>>,
    /// # ) -> burn_trainer::Result<()> where <M as TrainStep>::Output: Adaptor<MeanLossInput> {
    /// let optimizer = AdamConfig::new().init_streamed();
    /// let sweep = trainer.find_learning_rate(LearningRateFinder::new(), &train, &model, &optimizer)?;
    /// println!("{sweep}");
    /// sweep.write_svg("learning-rates.svg")?;
    /// let rate = sweep.suggestion().unwrap_or(1e-3);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a setting of the finder, [`Error::NoBatch`](crate::Error::NoBatch),
    /// [`Error::Training`](crate::Error::Training) with the error of the loader, [`Error::Panicked`](crate::Error::Panicked) when a
    /// step panics. A loss that is not finite ends the sweep and is not an error.
    pub fn find_learning_rate(
        &self,
        finder: LearningRateFinder,
        train: &Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<LearningRateSweep>
    where
        <M as TrainStep>::Output: Adaptor<MeanLossInput>,
    {
        if self.setup.config.writes() {
            note(&format!(
                "trying {} learning rates from {:e} to {:e}",
                finder.steps, finder.lowest, finder.highest
            ));
        }
        if LoaderSize::of(&**train).is_none() {
            warn(
                "the search uses a loader that is not one of Trainer::loader: if it shuffles, the run after it has another order \
                 than without the search",
            );
        }
        finder.run(self.trial(model)?, train, model, optimizer)
    }

    /// How the trainer does a step, for one batch of each device.
    fn trial(&self, model: &M) -> Result<Trial> {
        let config = &self.setup.config;
        Ok(Trial {
            devices: self.devices.of_run(model)?,
            optim: self.devices.optim,
            recompute: config.gradient_checkpointing,
            seed: config.seed,
            accumulation: 1,
        })
    }
}
