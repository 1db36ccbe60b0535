//! The configuration of a fast dev run: one batch of everything, in a temporary directory.

use std::path::Path;

use crate::config::batch_limit::BatchLimit;
use crate::config::trainer_config::TrainerConfig;
use crate::config::validate_at_start::ValidateAtStart;
use crate::config::validation::Validation;
use crate::strategy::{StrategyConfig, directory_within};

const ONE: Option<BatchLimit> = Some(BatchLimit::Count(1));

impl TrainerConfig {
    /// This for one batch of everything below another root. Limits and schedules that have no meaning for one
    /// batch are left out: they must not make it fail.
    pub(crate) fn of_fast_dev_run(&self, root: &Path) -> Self {
        let limit_valid_batches = match self.limit_valid_batches {
            // Without validation, as the run would be.
            Some(limit) if limit.is_zero() => Some(limit),
            _ => ONE,
        };
        let strategies = match self.checkpoint_saving {
            true => self.effective_strategies().into_iter().enumerate().map(within_the_run).collect(),
            false => Vec::new(),
        };
        Self {
            root: root.to_path_buf(),
            max_epochs: 1,
            min_epochs: 0,
            min_steps: 0,
            max_steps: None,
            max_time: None,
            limit_train_batches: ONE,
            limit_valid_batches,
            overfit_batches: None,
            validation: Validation::default(),
            validate_at_start: ValidateAtStart::Off,
            checkpoint_saving: true,
            best: None,
            last: None,
            on_exception: None,
            strategies: Some(strategies),
            ckpt_path: None,
            overwrite: false,
            slurm_requeue: false,
            restarts: 0,
            mirror: None,
            ..self.clone()
        }
    }
}

/// The strategy with its files in the run's own directory.
fn within_the_run((number, mut strategy): (usize, StrategyConfig)) -> StrategyConfig {
    if let Some(path) = strategy.dirpath_mut() {
        *path = directory_within(path, number);
    }
    strategy
}
