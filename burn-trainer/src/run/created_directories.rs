//! The directories that opening a run creates, which are removed again where the start fails.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::DIRECTORIES_FILE;
use burn_ckpt::plumbing::storage::{self, StoredFile};

use crate::process::console::warn;
use crate::run_files::experiment_log::EXPERIMENT_LOG;

const GITIGNORE: &str = ".gitignore";
/// The files that a start which fails can leave: in the run's directory burn's log and the note of
/// directories outside, and above it that for git.
const LEFT: [&str; 3] = [EXPERIMENT_LOG, DIRECTORIES_FILE, GITIGNORE];
/// Ignores the directory with everything in it, this file too.
const IGNORE_ALL: &[u8] =
    b"# Made by burn-trainer together with this directory. It is not written again.\n*\n";

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
            !path.as_os_str().is_empty() && storage::stat(path).is_ok_and(|stat| stat.is_none())
        };
        let missing = directory.ancestors().take_while(is_missing);
        Self { created: missing.map(Path::to_path_buf).collect() }
    }

    /// Has git ignore the directory of the runs, if this process creates it. What is there already is the
    /// user's, and a file that was deleted stays deleted.
    pub(super) fn ignore_in_git(&self, logs: &Path) {
        if !self.created.iter().any(|created| created == logs) {
            return;
        }
        let path = logs.join(GITIGNORE);
        let written = StoredFile::create_new(&path).and_then(|mut file| file.write_all(IGNORE_ALL));
        if let Err(error) = written {
            warn(&format!("{} is not written, so git may list the files of runs: {error}", path.display()));
        }
    }

    /// Training has begun.
    pub(super) fn keep(&mut self) {
        self.created.clear();
    }
}

impl Drop for CreatedDirectories {
    fn drop(&mut self) {
        for directory in &self.created {
            let is_left =
                |path: &PathBuf| path.file_name().is_some_and(|name| LEFT.iter().any(|left| name == *left));
            if let Ok(Some(entries)) = storage::list(directory)
                && entries.iter().all(is_left)
            {
                for path in entries {
                    let _ = storage::remove_file(&path);
                }
            }
            // Fails where something is in it, which stays.
            let _ = storage::remove_directory(directory);
        }
    }
}
