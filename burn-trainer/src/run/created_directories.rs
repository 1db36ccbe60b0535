//! The directories that opening a run creates, which are removed again where the start fails.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage;

use crate::run_files::experiment_log::EXPERIMENT_LOG;

/// Directories that did not exist before. Dropping it removes those that are empty, unless they are kept.
#[derive(Debug, Default)]
pub(crate) struct CreatedDirectories {
    /// From the deepest to the outermost.
    created: Vec<PathBuf>,
}

impl CreatedDirectories {
    /// Notes that a directory is about to be created, and those above it that do not exist.
    pub(super) fn below_which_all_are_new(directory: &Path) -> Self {
        // A directory that cannot be read may be there.
        let is_missing = |path: &&Path| {
            !path.as_os_str().is_empty() && storage::facts(path).is_ok_and(|facts| facts.is_none())
        };
        let missing = directory.ancestors().take_while(is_missing);
        Self { created: missing.map(Path::to_path_buf).collect() }
    }

    /// Training has begun.
    pub(super) fn keep(&mut self) {
        self.created.clear();
    }
}

impl Drop for CreatedDirectories {
    fn drop(&mut self) {
        for directory in &self.created {
            // burn's log is the one file that a start which fails can leave.
            if let Ok(Some(entries)) = storage::list(directory)
                && let [only] = &entries[..]
                && only.file_name().is_some_and(|name| name == EXPERIMENT_LOG)
            {
                let _ = storage::remove_file(only);
            }
            // Fails where something is in it, which stays.
            let _ = storage::remove_directory(directory);
        }
    }
}
