//! The directories that opening a run creates, which are removed again where the start fails.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
            !path.as_os_str().is_empty()
                && fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
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
            let mut entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
            // burn's log is the one file that a start which fails can leave.
            if let (Some(only), None) = (entries.next(), entries.next())
                && only.file_name() == EXPERIMENT_LOG
            {
                let _ = fs::remove_file(only.path());
            }
            // Fails where something is in it, which stays.
            let _ = fs::remove_dir(directory);
        }
    }
}
