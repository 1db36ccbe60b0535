//! The checkpoints of earlier starts: each counts once its bytes are verified.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::ErrorKind;
use crate::error::Error;

/// Each file of a checkpoint with its SHA-256 in the metadata: the `.ckpt` file first, then its shards.
pub type FileDigests = Vec<(PathBuf, String)>;

/// Those that are not verified yet, and what is to be said of them.
#[derive(Debug, Default)]
pub(super) struct UnverifiedCheckpoints {
    /// With their digests, in the order in which they are verified.
    files: IndexMap<PathBuf, FileDigests>,
    /// Those of them that could not be read, until they are tried again.
    postponed: HashSet<PathBuf>,
    /// Those that were found to be damaged, until they are taken.
    damaged: Vec<(PathBuf, Error)>,
    /// Those that could not be read for the first time, until they are taken.
    unread: Vec<(PathBuf, Error)>,
    /// All that could not be read at least once.
    were_unread: HashSet<PathBuf>,
}

impl UnverifiedCheckpoints {
    pub(super) fn add(&mut self, path: &Path, files: FileDigests) {
        self.files.insert(path.to_path_buf(), files);
    }

    pub(super) fn have(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The next one. Not one that could not be read since [`retry`](Self::retry) was called last.
    pub(super) fn next(&self) -> Option<(PathBuf, FileDigests)> {
        let next = self.files.iter().find(|(path, _)| !self.postponed.contains(*path));
        next.map(|(path, files)| (path.clone(), files.clone()))
    }

    pub(super) fn note_whole(&mut self, path: &Path) {
        self.files.shift_remove(path);
    }

    /// Notes why one could not be verified. Returns whether it is damaged. One that cannot be read now stays:
    /// a network's file system can give its bytes a moment later.
    pub(super) fn note_error(&mut self, path: &Path, error: Error) -> bool {
        if !matches!(error.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) {
            self.files.shift_remove(path);
            self.damaged.push((path.to_path_buf(), error));
            return true;
        }
        self.postponed.insert(path.to_path_buf());
        if self.were_unread.insert(path.to_path_buf()) {
            self.unread.push((path.to_path_buf(), error));
        }
        false
    }

    /// Lets those that could not be read be verified again.
    pub(super) fn retry(&mut self) {
        self.postponed.clear();
    }

    pub(super) fn take_damaged(&mut self) -> Vec<(PathBuf, Error)> {
        std::mem::take(&mut self.damaged)
    }

    pub(super) fn take_unread(&mut self) -> Vec<(PathBuf, Error)> {
        std::mem::take(&mut self.unread)
    }
}
