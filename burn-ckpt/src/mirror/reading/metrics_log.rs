//! Getting a run's log of metrics up to a checkpoint.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk::directories::entry;
use crate::disk::staged_file::{Existing, write_whole};
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::format::digest::checksum;
use crate::metrics_log::is_metrics_log;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::metrics_pieces::{Part, parts_up_to};
use crate::mirror::object_names::METRICS_DIR;
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::Progress;

impl MirroredRun {
    /// Gets the run's log of metrics up to a checkpoint, and compares it with its digest before it gets its
    /// name. Whether the checkpoint has such a log. A log of that name is replaced once all of this one has
    /// arrived. Any other file of that name is kept, and an error.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] when a piece is missing; [`Error::Checksum`] when it has other bytes;
    /// [`Error::Io`], also of `progress`; [`Error::Mirror`].
    pub fn download_metrics_log(
        &self,
        checkpoint: &MirroredCheckpoint,
        path: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<bool> {
        let path = path.as_ref();
        let Some(log) = &checkpoint.metrics_log else { return Ok(false) };
        let parts = parts_up_to(&self.run_id, self.objects.values(), Some(log.last_piece));
        let shown = PathBuf::from(self.store.shown(&format!("{}/{METRICS_DIR}", self.run_id)));
        if parts.last().map_or(0, |part| part.end) < log.bytes {
            let reason = format!("a piece of the log of metrics up to {} bytes is missing", log.bytes);
            return Err(Error::damaged(&shown, reason, None));
        }
        write_whole(path, existing(path)?, |file| {
            let mut hasher = Sha256::new();
            for Part { piece, end } in &parts {
                let end = (*end).min(log.bytes);
                if piece.start >= end {
                    break;
                }
                let mut write = |bytes: &[u8]| {
                    hasher.update(bytes);
                    file.write_all(bytes).map_err(Error::io("write", path))
                };
                self.store.download(&piece.key(&self.run_id), end - piece.start, &mut write, progress)?;
            }
            let found = checksum(hasher);
            match found == log.sha256 {
                true => Ok(()),
                false => Err(Error::checksum(&shown, log.sha256.clone(), found)),
            }
        })?;
        Ok(true)
    }
}

/// Only a log of metrics is replaced, not through a link.
fn existing(path: &Path) -> Result<Existing> {
    let is_file = entry(path)?.is_some_and(|entry| entry.is_file());
    let is_log = || is_metrics_log(&StoredFile::open(path)?);
    match is_file && is_log().map_err(Error::io("read", path))? {
        true => Ok(Existing::Replace),
        false => Ok(Existing::Keep),
    }
}
