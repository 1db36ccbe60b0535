//! `Trainer::find_learning_rate` and `Trainer::find_batch_size`: settings found with the trainer's devices
//! and its step, before the run.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::ModuleOptimizer;
use burn::train::metric::Adaptor;
use burn::train::{LearnerModel, TrainStep};

use super::Trainer;
use crate::dataloader::LoaderSize;
use crate::error::Result;
use crate::finders::{BatchSizeFinder, FoundBatchSize, LearningRateFinder, LearningRateSweep};
use crate::metric::MeanLossInput;
use crate::process::console::{note, warn};
use crate::training_loop::trial::Trial;

impl<M: LearnerModel> Trainer<M> {
    /// Tries learning rates: trains a copy of the model with a rate that grows from step to step, with this
    /// trainer's devices, data and step. The run is as if there had been no search: nothing is written, and a
    /// run after it ends with the same bytes. Model, optimizer and loader are used again.
    ///
    /// Each device is seeded with the configuration's seed at the end, as by [`Trainer::device`]. A loader
    /// that is not one of [`Trainer::loader`] may draw another order for the run after it, and a warning says
    /// so.
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
    /// [`Error::Config`](crate::Error::Config) for a setting of the finder,
    /// [`Error::NoBatch`](crate::Error::NoBatch), [`Error::Training`](crate::Error::Training) with the error
    /// of the loader, [`Error::Panicked`](crate::Error::Panicked) when a step panics. A loss that is not
    /// finite ends the sweep and is not an error.
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
        let _entered = self.setup.run.output.enter();
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

    /// Tries batch sizes: does a few optimizer steps on a copy of the model with larger and larger batches,
    /// with this trainer's devices, until one does not fit into the memory. `loader` builds the loader of the
    /// training data for a batch size. The run is as if there had been no search, as after
    /// [`find_learning_rate`](Self::find_learning_rate).
    ///
    /// On a GPU a batch is too large when the backend says that it has no memory left. Main memory cannot be
    /// tried out like that, as the process would be killed: there a batch is too large when it would use more
    /// than [`BatchSizeFinder::memory_limit`], as smaller ones show.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use burn::data::dataset::InMemDataset;
    /// # use burn::data::dataloader::batcher::Batcher;
    /// # use burn::optim::AdamConfig;
    /// # use burn::train::{LearnerModel, TrainStep};
    /// # use burn_trainer::Trainer;
    /// # use burn_trainer::optimizer::InitStreamed;
    /// use burn_trainer::finders::BatchSizeFinder;
    ///
    /// # fn find<M: LearnerModel, B>(trainer: Trainer<M>, model: M, batcher: B, data: Arc<InMemDataset<f32>>) -> burn_trainer::Result<()>
    /// # where B: Batcher<f32, <M as TrainStep>::Input> + Clone + 'static, <M as TrainStep>::Input: Send {
    /// let optimizer = AdamConfig::new().init_streamed();
    /// let loader = |size| trainer.loader(batcher.clone()).batch_size(size).shuffled().build(data.clone());
    /// let found = trainer.find_batch_size(BatchSizeFinder::new(), loader, &model, &optimizer)?;
    /// println!("{found}");
    /// found.write_csv("batch-sizes.csv")?;
    /// let batch_size = found.batch_size;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoBatchFits`](crate::Error::NoBatchFits) if not even a single item fits;
    /// [`Error::Config`](crate::Error::Config) for a setting of the finder, or a loader whose batches have
    /// another size; [`Error::NoBatch`](crate::Error::NoBatch), [`Error::Training`](crate::Error::Training)
    /// with the error of the loader, [`Error::Panicked`](crate::Error::Panicked) when a step panics for
    /// another reason.
    pub fn find_batch_size(
        &self,
        finder: BatchSizeFinder,
        mut loader: impl FnMut(usize) -> Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<FoundBatchSize> {
        let _entered = self.setup.run.output.enter();
        finder.run(self.trial(model)?, |size| Ok(loader(size)), model, optimizer)
    }

    /// How the trainer does a step.
    fn trial(&self, model: &M) -> Result<Trial> {
        Trial::new(&self.setup.config, &self.devices, model)
    }
}
