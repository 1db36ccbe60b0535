//! What can be set on burn's `SupervisedTraining`, and a run has in its own configuration: the number of
//! epochs, where training begins, and checkpoints.
//!
//! A program that was written for burn's own loop has set them there. They are neither left out in silence,
//! nor do they change what the run resumes.

use burn::train::{LearnerModel, TrainingComponents};

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::process::console::warn;

/// What burn has where a program has set no number of epochs.
const BURNS_DEFAULT_EPOCHS: usize = 1;

/// The epochs of a run, in place of those that were set on burn's training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunEpochs {
    max_epochs: usize,
    /// Those that are done.
    completed: u64,
    /// A fast dev run has an epoch, whatever the program says.
    is_fast_dev_run: bool,
    /// Whether this process says what is left out.
    writes: bool,
}

impl RunEpochs {
    pub(crate) fn new(config: &TrainerConfig, completed: u64) -> Self {
        let TrainerConfig { max_epochs, fast_dev_run, .. } = *config;
        Self { max_epochs, completed, is_fast_dev_run: fast_dev_run, writes: config.writes() }
    }

    /// Puts the run's epochs into what burn gives its loop, for renderers. burn's `launch` does not know
    /// where the run begins: it would have burn's checkpointers, if there are any, load a state in place of
    /// the run's.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for what the program has set on burn's training, and the run would do otherwise.
    pub(super) fn put_into<M: LearnerModel>(self, components: &mut TrainingComponents<M>) -> Result<()> {
        let given = Given {
            num_epochs: components.num_epochs,
            checkpoint: components.checkpoint,
            has_checkpointers: components.checkpointer.is_some(),
        };
        components.num_epochs = self.max_epochs;
        components.checkpoint = usize::try_from(self.completed).ok().filter(|completed| *completed > 0);
        self.check(&given)
    }

    fn check(self, given: &Given) -> Result<()> {
        let Given { num_epochs, checkpoint, has_checkpointers } = *given;
        if let Some(checkpoint) = checkpoint {
            let reason = format!(
                "it is {checkpoint}, and burn's checkpoints are not those of the run: the setting ckpt_path says what is resumed. To \
                 begin with weights that burn has saved, load them into the model before Learner::new"
            );
            return Err(Error::config("SupervisedTraining::checkpoint", reason));
        }
        self.check_epochs(num_epochs)?;
        if has_checkpointers && self.writes {
            warn(
                "burn's checkpointers save and load nothing in this run: its checkpoints are those of the trainer's settings \
                 (primary_metric, best, last). Leave with_default_checkpointers out",
            );
        }
        Ok(())
    }
}

impl RunEpochs {
    /// Checks a number of epochs that a program has set.
    fn check_epochs(self, num_epochs: usize) -> Result<()> {
        let is_set = num_epochs != BURNS_DEFAULT_EPOCHS && !self.is_fast_dev_run;
        if !is_set || num_epochs == self.max_epochs {
            return Ok(());
        }
        let reason = format!(
            "it is {num_epochs}, and the trainer's max_epochs is {}: set max_epochs, and leave num_epochs out",
            self.max_epochs
        );
        Err(Error::config("SupervisedTraining::num_epochs", reason))
    }

    /// Puts the run's epochs into what burn gives a loop of the user's. Where it begins is set already.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for another number that the program has set.
    pub(crate) fn put_into_users<M: LearnerModel>(
        self,
        components: &mut TrainingComponents<M>,
    ) -> Result<()> {
        let num_epochs = std::mem::replace(&mut components.num_epochs, self.max_epochs);
        self.check_epochs(num_epochs)
    }
}

/// What a program has set.
struct Given {
    num_epochs: usize,
    checkpoint: Option<usize>,
    has_checkpointers: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(config: TrainerConfig, num_epochs: usize, checkpoint: Option<usize>) -> Option<String> {
        let given = Given { num_epochs, checkpoint, has_checkpointers: false };
        match RunEpochs::new(&config, 0).check(&given) {
            Ok(()) => None,
            Err(Error::Config { setting, reason }) => Some(format!("{setting}: {reason}")),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn config() -> TrainerConfig {
        TrainerConfig::new().with_max_epochs(3)
    }

    #[test]
    fn a_number_of_epochs_that_is_not_the_runs_is_an_error_with_both() {
        assert_eq!(wrong(config(), BURNS_DEFAULT_EPOCHS, None), None, "it was not set");
        assert_eq!(wrong(config(), 3, None), None);
        assert_eq!(wrong(config().with_fast_dev_run(true), 20, None), None);
        let reason = wrong(config(), 20, None).unwrap();
        let both = reason.contains("it is 20") && reason.contains("max_epochs is 3");
        assert!(reason.starts_with("SupervisedTraining::num_epochs: ") && both, "{reason}");
    }

    #[test]
    fn a_checkpoint_of_burns_is_an_error_that_names_the_setting() {
        let reason = wrong(config(), 3, Some(2)).unwrap();
        let words = ["SupervisedTraining::checkpoint: it is 2", "ckpt_path", "Learner::new"];
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    }
}
