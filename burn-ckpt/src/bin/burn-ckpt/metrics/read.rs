//! The values that a run has logged, in their order: those of its log of metrics, or for a run without one,
//! as of an earlier version, those of the epochs in its newest checkpoint.

use std::io::ErrorKind;

use burn_ckpt::metrics_log::{self, METRICS_FILE};
use burn_ckpt::{Error, RunLayout, chain};

use crate::metrics::history_values;
use crate::metrics::values::Values;
use crate::terminal::output::say;
use crate::verb_result::Failure;

/// Calls `each` with the values of a run in their order. Returns whether all could be read: an invalid line
/// is named on standard error, and those after it are read.
///
/// # Errors
///
/// When there is neither a log nor a checkpoint with a history, and those of `each`.
pub fn for_each(
    layout: &RunLayout,
    each: impl FnMut(Values) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    read(layout, say, each)
}

/// The same without a word, for a log that is read again.
///
/// # Errors
///
/// As for [`for_each`].
pub fn for_each_silently(
    layout: &RunLayout,
    each: impl FnMut(Values) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    read(layout, |_| (), each)
}

fn read(
    layout: &RunLayout,
    say: impl Fn(String),
    mut each: impl FnMut(Values) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let lines = match metrics_log::read(layout.run_dir().join(METRICS_FILE)) {
        Ok(lines) => lines,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let Some(epochs) = history_values::epochs(layout, say)? else {
                return Err(Failure::Other(format!(
                    "{} has neither {METRICS_FILE} nor a checkpoint with the history of its metrics",
                    layout.run_dir().display()
                )));
            };
            epochs.into_iter().try_for_each(each)?;
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    };
    let (mut are_all_valid, mut is_empty) = (true, true);
    for line in lines {
        match line {
            Ok(line) => {
                is_empty = false;
                each(line.into())?;
            }
            Err(error @ Error::MetricsLog { .. }) => {
                say(format!("warning: {}; it is left out", chain(&error)));
                are_all_valid = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if is_empty {
        are_all_valid &= read_history(layout, say, each)?;
    }
    Ok(are_all_valid)
}

/// Calls `each` with the values in the newest checkpoint's history, in place of a log without any. Returns
/// whether there is nothing to say: a run that has just begun has no checkpoint either.
fn read_history(
    layout: &RunLayout,
    say: impl Fn(String),
    each: impl FnMut(Values) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    match history_values::epochs(layout, |_| ()) {
        Ok(None) => Ok(true),
        Ok(Some(epochs)) if epochs.is_empty() => Ok(true),
        Ok(Some(epochs)) => {
            say(format!(
                "warning: {METRICS_FILE} has no values: those of the newest checkpoint's history are taken"
            ));
            epochs.into_iter().try_for_each(each)?;
            Ok(false)
        }
        Err(failure) => {
            say(format!(
                "warning: {METRICS_FILE} has no values, and the history in the run's newest checkpoint cannot be read: {}",
                chain(&failure)
            ));
            Ok(false)
        }
    }
}
