//! The checkpoints of earlier starts: each counts once its bytes are verified.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::ranked::Entry;
use super::{FileDigests, Ledger};
use crate::ErrorKind;
use crate::error::{Error, Result};

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
    pub(super) fn have(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }
}

impl Ledger {
    /// Makes a registered checkpoint count only once its bytes are compared with its digests. Until then it
    /// is treated as one that is being written: it pushes out no other, is not removed, and keeps a link that
    /// leads to it.
    pub fn verify_later(&mut self, path: &Path, files: FileDigests) {
        let mut is_known = false;
        for entry in self.entries_of(path) {
            (entry.durable, is_known) = (false, true);
        }
        if is_known {
            self.unverified.files.insert(path.to_path_buf(), files);
        }
    }

    /// The checkpoints that are not verified yet.
    pub fn unverified(&self) -> impl Iterator<Item = &Path> {
        self.unverified.files.keys().map(PathBuf::as_path)
    }

    /// The next checkpoint to verify, with its digests. Not one that could not be read since
    /// [`retry_unread`](Self::retry_unread) was called last.
    pub(crate) fn next_unverified(&self) -> Option<(PathBuf, FileDigests)> {
        let UnverifiedCheckpoints { files, postponed, .. } = &self.unverified;
        let next = files.iter().find(|(path, _)| !postponed.contains(*path));
        next.map(|(path, files)| (path.clone(), files.clone()))
    }

    /// Notes what the verification of a checkpoint came to. A damaged one counts no more, and its file stays.
    /// One that cannot be read now stays unverified: a network's file system can give its bytes a moment
    /// later.
    pub(crate) fn note_verified(&mut self, path: &Path, outcome: Result<()>) {
        match outcome {
            Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::PermissionDenied) => {
                let unverified = &mut self.unverified;
                unverified.postponed.insert(path.to_path_buf());
                if unverified.were_unread.insert(path.to_path_buf()) {
                    unverified.unread.push((path.to_path_buf(), error));
                }
                return;
            }
            Err(error) => {
                self.forget(&[path.to_path_buf()]);
                self.unverified.damaged.push((path.to_path_buf(), error));
            }
            Ok(()) => self.entries_of(path).for_each(|entry| entry.durable = true),
        }
        self.unverified.files.shift_remove(path);
    }

    /// Lets the checkpoints that could not be read be verified again.
    pub(crate) fn retry_unread(&mut self) {
        self.unverified.postponed.clear();
    }

    /// The checkpoints that were found to be damaged since the last call, each with the error.
    pub fn take_damaged(&mut self) -> Vec<(PathBuf, Error)> {
        std::mem::take(&mut self.unverified.damaged)
    }

    /// The checkpoints that could not be read for their verification for the first time since the last call,
    /// each with the error. They are tried again.
    pub fn take_unread(&mut self) -> Vec<(PathBuf, Error)> {
        std::mem::take(&mut self.unverified.unread)
    }

    /// Whether it depends on checkpoints that are not verified yet whether a strategy keeps the state under
    /// this path.
    pub(crate) fn depends_on_unverified(&self, path: &Path) -> bool {
        self.strategies.values().any(|strategy| {
            let mut reserved = strategy.entries.iter().filter(|entry| entry.saved.path == path);
            reserved.any(|entry| {
                let keeps =
                    |others: &[&Entry]| strategy.would_keep(others.iter().copied(), entry.candidate());
                let durable: Vec<&Entry> = strategy.durable().collect();
                keeps(&durable) && !keeps(&strategy.durable_or(|path| self.unverified.have(path)))
            })
        })
    }
}
