//! How a run shows its progress.

use serde::{Deserialize, Serialize};

/// How a run shows its progress, and what it says of itself on standard error. `--progress` of
/// [`TrainArgs`](crate::cli::TrainArgs) sets it too. In JSON `"auto"`, `"dashboard"`, `"plain"` or `"off"`.
///
/// Results on standard output ([`cli::print_result`](crate::cli::print_result())) do not depend on it, nor
/// does the log in the run's directory. A renderer of your own (`SupervisedTraining::renderer`) takes the
/// place of dashboard and lines.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::ProgressMode;
///
/// let config = TrainerConfig::new().with_progress(ProgressMode::Off);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProgressMode {
    /// burn's dashboard if standard output is a terminal, else plain lines on standard error. The default.
    #[default]
    Auto,
    /// burn's dashboard. Where it cannot be drawn, a warning says why, and progress is shown as plain lines:
    /// a job that lost its terminal trains all the same.
    Dashboard,
    /// Plain lines on standard error: one when a split is done, and one every 10 seconds in between.
    Plain,
    /// Only warnings, errors, and what stops the run.
    Off,
}

impl ProgressMode {
    /// Each with the name that it has in JSON and on the command line.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) const NAMED: [(&str, Self); 4] =
        [("auto", Self::Auto), ("dashboard", Self::Dashboard), ("plain", Self::Plain), ("off", Self::Off)];

    /// Whether anything but warnings and errors is said.
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Whether a line may be drawn again and again on a terminal.
    pub(crate) fn may_redraw(self) -> bool {
        matches!(self, Self::Auto | Self::Dashboard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_name_in_json_and_on_the_command_line() {
        for (name, progress) in ProgressMode::NAMED {
            assert_eq!(serde_json::to_value(progress).unwrap(), name);
            assert_eq!(serde_json::from_value::<ProgressMode>(name.into()).unwrap(), progress);
        }
        let error = serde_json::from_value::<ProgressMode>("quiet".into()).unwrap_err().to_string();
        assert!(ProgressMode::NAMED.iter().all(|(name, _)| error.contains(name)), "{error}");
    }
}
