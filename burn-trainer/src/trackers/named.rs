//! The trackers that the configuration names.

use std::time::Duration;

use burn::train::LearnerModel;

use super::callback::TrackerCallback;
use super::tracker::Tracker;
use crate::callbacks::registered::Callbacks;
use crate::config::TrainerConfig;
use crate::error::Result;

/// Adds the named trackers.
///
/// # Errors
///
/// [`Error::Config`] for one whose own settings are missing or invalid.
pub(crate) fn add_named<M: LearnerModel>(config: &TrainerConfig, callbacks: &mut Callbacks<M>) -> Result<()> {
    config.trackers.iter().try_for_each(|name| add_one(name, config, callbacks))
}

#[allow(unused_variables, reason = "without the features of trackers")]
fn add_one<M: LearnerModel>(name: &str, config: &TrainerConfig, callbacks: &mut Callbacks<M>) -> Result<()> {
    match name {
        #[cfg(feature = "csv")]
        "csv" => add(super::csv::CsvTracker::new(), config, callbacks),
        #[cfg(feature = "mlflow")]
        "mlflow" => add(super::mlflow::Mlflow::from_env()?, config, callbacks),
        #[cfg(feature = "tensorboard")]
        "tensorboard" => add(super::tensorboard::TensorBoard::new(), config, callbacks),
        // Checked with the configuration.
        _ => Ok(()),
    }
}

#[allow(dead_code, reason = "without the features of trackers")]
fn add<M: LearnerModel>(
    tracker: impl Tracker,
    config: &TrainerConfig,
    callbacks: &mut Callbacks<M>,
) -> Result<()> {
    callbacks.add(Box::new(TrackerCallback::new(tracker).with_wait_at_end(wait_at_end(config))));
    Ok(())
}

/// How long the end of the run waits for a tracker.
pub(crate) fn wait_at_end(config: &TrainerConfig) -> Duration {
    // Checked with the configuration.
    Duration::try_from_secs_f64(config.trackers_wait_seconds).unwrap_or_default()
}
