//! burn's log of a run, `experiment.log`. burn panics where it cannot open the file.

use std::path::{Path, PathBuf};

use burn::train::{ApplicationLoggerInstaller, FileApplicationLoggerInstaller};

use super::regular_file;
use crate::process::console::warn;

/// The file's name in the run's directory.
pub(crate) const EXPERIMENT_LOG: &str = "experiment.log";

/// Installs burn's logger, unless its file cannot be written: then it says so, and training continues without it.
pub(crate) struct ExperimentLog(PathBuf);

impl ExperimentLog {
    pub(crate) fn of_run(run_dir: &Path) -> Self {
        Self(run_dir.join(EXPERIMENT_LOG))
    }
}

impl ApplicationLoggerInstaller for ExperimentLog {
    fn install(&self) -> Result<(), String> {
        match regular_file::check_writable(&self.0) {
            Ok(()) => FileApplicationLoggerInstaller::new(&self.0).install(),
            Err(error) => {
                warn(&format!(
                    "the log {} cannot be written: {error}. Training continues without it",
                    self.0.display()
                ));
                Ok(())
            }
        }
    }
}
