//! Which batches of an epoch a run trains on.

use super::batch_limit::BatchLimit;
use super::trainer_config::TrainerConfig;
use crate::error::Result;

/// `limit_train_batches` and `overfit_batches`, of which at most one is set. The default: all batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TrainLimits {
    train: Option<BatchLimit>,
    overfit: Option<BatchLimit>,
}

impl TrainLimits {
    pub(crate) fn of(config: &TrainerConfig) -> Self {
        Self { train: config.limit_train_batches, overfit: config.overfit_batches }
    }

    /// The first batches of each epoch; `None`: all.
    pub(crate) fn first(batches: Option<u64>) -> Self {
        Self { train: batches.map(BatchLimit::Count), overfit: None }
    }

    /// Whether each epoch has the same batches.
    pub(crate) fn repeats(self) -> bool {
        self.overfit.is_some()
    }

    /// The number of batches that are used, of a loader that may say how many it has. `None`: all.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a fraction of a number that is unknown.
    pub(crate) fn resolve(self, batches: Option<u64>) -> Result<Option<u64>> {
        match self.train {
            Some(limit) => limit.of_loader("limit_train_batches", batches).map(Some),
            None => self.resolve_overfit(batches),
        }
    }

    /// The same of `overfit_batches` alone.
    pub(crate) fn resolve_overfit(self, batches: Option<u64>) -> Result<Option<u64>> {
        self.overfit.map(|limit| limit.of_loader("overfit_batches", batches)).transpose()
    }
}
