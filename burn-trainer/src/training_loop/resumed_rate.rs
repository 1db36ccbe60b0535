//! The learning rate of a run that resumes.

use burn::train::LearnerModel;

use super::loop_state::LoopState;
use crate::error::{Error, Result};
use crate::learner_state::learning_rates::{HOW_TO_SCALE, is_same_rate, takes_scale};
use crate::process::console::warn;
use crate::process::progress::figures::significant;

impl<M: LearnerModel> LoopState<'_, M> {
    /// Checks that this learner's rate can be scaled as callbacks have scaled that of the checkpoint.
    pub(super) fn check_rate_scale(&self, scale: f64) -> Result<()> {
        if scale == 1.0 || takes_scale(self.learner.get()) {
            return Ok(());
        }
        let reason = format!("the checkpoint's is scaled by {scale}, and {HOW_TO_SCALE}");
        Err(Error::config("the learning rate", reason))
    }

    /// Warns where the first step after a resume has another learning rate than it would have had in the run
    /// that saved the checkpoint.
    pub(super) fn warn_of_another_rate(&self) {
        let Some(expected) = self.progress.expected_rate else { return };
        let now = self.learner.rates(self.callbacks.rate_scale()).next;
        if let Some(now) = now.filter(|now| !is_same_rate(*now, expected)) {
            let step = self.progress.position.global_step + 1;
            // Rates that differ in later digits alone are shown with all of them.
            let look_alike = significant(now) == significant(expected);
            let shown = |rate: f64| if look_alike { rate.to_string() } else { significant(rate) };
            let (now, expected) = (shown(now), shown(expected));
            warn(&format!(
                "the learning rate of step {step} is {now}, and {expected} in the run that saved the checkpoint: the scheduler, its \
                 settings or the length of the run have changed"
            ));
        }
    }
}
