//! What a program gives to `--find-lr` and `--find-batch-size`.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use burn::train::{LearnerModel, MultiDeviceOptim, TrainStep};

use crate::config::TrainerConfig;
use crate::error::Result;
use crate::training_loop::parts::multi_device::DeviceSettings;
use crate::training_loop::trial::Trial;

/// The model, optimizer and data that [`FindArgs::run`](super::FindArgs::run) tries settings with. See its
/// example.
pub struct FinderInput<M: LearnerModel, C> {
    pub(super) model: M,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) loader: TrainLoader<M, C>,
    pub(super) devices: DeviceSettings,
    pub(super) grads_accumulation: usize,
    pub(super) learning_rate_key: String,
    pub(super) batch_size_key: String,
}

pub(super) type TrainLoader<M, C> = Box<dyn Fn(&C) -> Arc<dyn DataLoader<<M as TrainStep>::Input>>>;

impl<M: LearnerModel, C> FinderInput<M, C> {
    /// The model and the optimizer as they are before the first step, and a function that builds the loader
    /// of the training data from the program's configuration.
    ///
    /// The keys of that configuration are `learning_rate` and `batch_size`, unless others are set.
    pub fn new(
        model: M,
        optimizer: ModuleOptimizer,
        loader: impl Fn(&C) -> Arc<dyn DataLoader<<M as TrainStep>::Input>> + 'static,
    ) -> Self {
        Self {
            model,
            optimizer,
            loader: Box::new(loader),
            devices: DeviceSettings::default(),
            grads_accumulation: 1,
            learning_rate_key: "learning_rate".to_owned(),
            batch_size_key: "batch_size".to_owned(),
        }
    }

    /// Sets the devices, as [`Trainer::devices`](crate::Trainer::devices) does.
    #[must_use]
    pub fn with_devices(mut self, devices: impl IntoIterator<Item = Device>) -> Self {
        self.devices.named = devices.into_iter().collect();
        self
    }

    /// Sets where the optimizer works, as
    /// [`Trainer::optimizer_placement`](crate::Trainer::optimizer_placement) does.
    #[must_use]
    pub fn with_optimizer_placement(mut self, optim: MultiDeviceOptim) -> Self {
        self.devices.optim = optim;
        self
    }

    /// Sets the batches of each device in an optimizer step.
    #[must_use]
    pub fn with_grads_accumulation(mut self, batches: usize) -> Self {
        self.grads_accumulation = batches;
        self
    }

    /// Sets the key of `--set` for the learning rate, such as `optimizer.rate`.
    #[must_use]
    pub fn with_learning_rate_key(mut self, key: impl Into<String>) -> Self {
        self.learning_rate_key = key.into();
        self
    }

    /// Sets the key of `--set` for the batch size.
    #[must_use]
    pub fn with_batch_size_key(mut self, key: impl Into<String>) -> Self {
        self.batch_size_key = key.into();
        self
    }

    /// The devices and settings with which steps are tried.
    pub(super) fn trial(&self, config: &TrainerConfig) -> Result<Trial> {
        Trial::new(config, &self.devices, &self.model)
    }
}
