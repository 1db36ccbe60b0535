//! The trackers that the configuration names.

use burn::train::LearnerModel;

use super::callback::TrackerCallback;
use super::tracker::Tracker;
use crate::callbacks::registered::Callbacks;
use crate::error::{Error, Result};

/// The names that there are, each of the feature that has the tracker.
const NAMES: [&str; 1] = ["csv"];

/// Adds the named trackers.
///
/// # Errors
///
/// [`Error::Config`] for a name that there is not, or whose feature is off.
pub(crate) fn add_named<M: LearnerModel>(names: &[String], callbacks: &mut Callbacks<M>) -> Result<()> {
    for name in names {
        match &**name {
            #[cfg(feature = "csv")]
            "csv" => add(super::csv::CsvTracker::new(), callbacks),
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
fn add<M: LearnerModel>(tracker: impl Tracker, callbacks: &mut Callbacks<M>) {
    callbacks.add(Box::new(TrackerCallback::new(tracker)));
}
