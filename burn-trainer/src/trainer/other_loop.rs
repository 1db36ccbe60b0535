//! What `Trainer::fit_with` does not have, as its loop is not the trainer's: errors before the first step,
//! and a warning where the loop trains all the same.

use burn::train::{LearnerModel, MultiDeviceOptim};

use super::Trainer;
use crate::error::{Error, Result};
use crate::process::console::warn;

impl<M: LearnerModel> Trainer<M> {
    /// Rejects what only the trainer's own loop has.
    pub(super) fn check_for_other_loop(&self) -> Result<()> {
        if let Some(setting) = self.setup.config.setting_of_own_loop() {
            let reason = "fit_with trains with another loop than the trainer's, which does not have this setting: use Trainer::fit";
            return Err(Error::config(setting, reason));
        }
        if self.setup.config.report {
            let reason = "fit_with trains with another loop than the trainer's, which writes no page: leave it out, and use \
                          `burn-ckpt report` while the run trains or after it";
            return Err(Error::config("report", reason));
        }
        if !self.callbacks.is_empty() {
            let reason = "fit_with trains with another loop than the trainer's, which calls no callbacks: use Trainer::fit";
            return Err(Error::config("Trainer::callback", reason));
        }
        if !self.validation_sets.is_empty() {
            let reason = "fit_with validates as its loop does, on the data of Trainer::training alone: use Trainer::fit";
            return Err(Error::config("Trainer::validation_set", reason));
        }
        if !self.devices.named.is_empty() {
            let reason = "fit_with trains where its strategy says; leave Trainer::devices out";
            return Err(Error::config("devices", reason));
        }
        if !matches!(self.devices.optim, MultiDeviceOptim::OptimMainDevice) {
            let reason = "fit_with places the optimizer where its strategy says (ExecutionStrategy::multi(devices, placement)): \
                          leave Trainer::optimizer_placement out";
            return Err(Error::config("Trainer::optimizer_placement", reason));
        }
        Ok(())
    }

    /// Names the settings that are without effect. `is_own`: the strategy is not one of burn's.
    pub(super) fn warn_of_settings_without_effect(&self, is_own: bool) {
        let config = &self.setup.config;
        let mut settings = config.without_effect_in_other_loops();
        if is_own && config.gradient_checkpointing {
            settings.push("gradient_checkpointing".to_owned());
        }
        let (Some(last), true) = (settings.pop(), config.writes()) else { return };
        let (names, are) = match settings.is_empty() {
            true => (last, "is"),
            false => (format!("{} and {last}", settings.join(", ")), "are"),
        };
        warn(&format!(
            "{names} {are} without effect in fit_with, which saves at the end of each epoch and leaves the rest to its loop: leave \
             out, or use Trainer::fit"
        ));
    }
}
