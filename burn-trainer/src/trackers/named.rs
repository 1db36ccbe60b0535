//! The trackers that the configuration names.

use std::time::Duration;

use burn::train::LearnerModel;

use super::callback::TrackerCallback;
use super::tracker::Tracker;
use crate::callbacks::registered::Callbacks;
use crate::config::TrainerConfig;
use crate::error::{Error, Result};

/// The names that there are, each of the feature that has the tracker.
const NAMES: [&str; 3] = ["csv", "mlflow", "tensorboard"];

/// Adds the named trackers.
///
/// # Errors
///
/// [`Error::Config`] for a name that there is not, or whose feature is off.
#[allow(unused_variables, reason = "without the features of trackers")]
pub(crate) fn add_named<M: LearnerModel>(config: &TrainerConfig, callbacks: &mut Callbacks<M>) -> Result<()> {
    for name in &config.trackers {
        match &**name {
            #[cfg(feature = "csv")]
            "csv" => add(super::csv::CsvTracker::new(), config, callbacks),
            #[cfg(feature = "mlflow")]
            "mlflow" => add(super::mlflow::Mlflow::from_env()?, config, callbacks),
            #[cfg(feature = "tensorboard")]
            "tensorboard" => add(super::tensorboard::TensorBoard::new(), config, callbacks),
            known if NAMES.contains(&known) => {
                let reason =
                    format!("{known} is not compiled in: build burn-trainer with its feature `{known}`");
                return Err(Error::config("trackers", reason));
            }
            unknown => {
                let reason = format!("there is no tracker {unknown:?}; there are {}", NAMES.join(", "));
                return Err(Error::config("trackers", reason));
            }
        }
    }
    Ok(())
}

#[allow(dead_code, reason = "without the features of trackers")]
fn add<M: LearnerModel>(tracker: impl Tracker, config: &TrainerConfig, callbacks: &mut Callbacks<M>) {
    // Checked with the configuration.
    let wait = Duration::try_from_secs_f64(config.trackers_wait_seconds).unwrap_or_default();
    callbacks.add(Box::new(TrackerCallback::new(tracker).with_wait_at_end(wait)));
}
