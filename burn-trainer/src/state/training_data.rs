//! The data of a run: how large its two splits are, and what a loop that is not the trainer's has had of
//! them.

use std::cell::Cell;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;

use super::position::DataLengths;
use crate::dataloader::{EpochTracker, EpochTrackingLoader, LoaderSize, NamedLoader, check_names};
use crate::error::Result;
use crate::process::console::warn;
use crate::validation_sets::ValidationSets;

/// What a run trains on and validates with.
#[derive(Clone, Default)]
pub(crate) struct TrainingData {
    pub(crate) train: SplitData,
    pub(crate) valid: SplitData,
    /// The names of the other validation sets.
    pub(crate) sets: ValidationSets,
}

impl TrainingData {
    /// The items that the loaders have.
    pub(crate) fn lengths(&self) -> DataLengths {
        DataLengths { train: self.train.items.get(), valid: self.valid.items.get() }
    }

    /// Whether the training data's loader can restore the order of an epoch.
    pub(crate) fn keeps_order(&self) -> bool {
        self.train.size().is_some()
    }

    /// Checks and notes the names of the validation sets beside the main one. With `warns`, it warns as
    /// [`warn_of_small_data`](Self::warn_of_small_data) does.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a name that cannot be used, or is there twice.
    pub(crate) fn define_sets<I>(&self, named: &[NamedLoader<I>], warns: bool) -> Result<()> {
        self.sets.define(check_names(named)?);
        for set in named.iter().filter(|_| warns) {
            warn_of_small_batch(&format!("validation ({})", set.name), set.size);
        }
        Ok(())
    }

    /// Warns of a batch that is larger than all data of its split.
    pub(crate) fn warn_of_small_data(&self) {
        for (name, split) in [("training", &self.train), ("validation", &self.valid)] {
            warn_of_small_batch(name, split.size());
        }
    }
}

fn warn_of_small_batch(name: &str, size: Option<LoaderSize>) {
    if let Some(warning) = size.and_then(LoaderSize::single_small_batch) {
        warn(&format!("the {name} data {warning}"));
    }
}

/// One of its splits. Clones share the tracker.
#[derive(Clone, Default)]
pub(crate) struct SplitData {
    /// Counts the epochs of a loop that is not the trainer's.
    pub(crate) tracker: EpochTracker,
    size: Cell<Option<LoaderSize>>,
    items: Cell<u64>,
}

impl SplitData {
    /// How large it is, if its loader says that before training.
    pub(crate) fn size(&self) -> Option<LoaderSize> {
        self.size.get()
    }

    /// Notes how much the loader has. Returns the loader with its epochs tracked.
    pub(crate) fn track<O: 'static>(&self, loader: Arc<dyn DataLoader<O>>) -> Arc<dyn DataLoader<O>> {
        let size = LoaderSize::of(&*loader);
        self.size.set(size);
        self.items.set(size.map_or_else(|| loader.num_items(), LoaderSize::items) as u64);
        EpochTrackingLoader::wrap(loader, &self.tracker)
    }
}
