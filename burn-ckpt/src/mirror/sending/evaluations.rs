//! Sending the evaluations that are kept beside checkpoints: one object for each checkpoint, which is
//! replaced as a whole. It says of which state it is, so a reader believes it as little as the file on disk.

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::disk::storage::StoredFile;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::file_names::evaluation_path;
use crate::format::digest::blake3_hex;
use crate::mirror::object_names::evaluations;
use crate::mirror::sending::local_names::PathsOnDisk;
use crate::mirror::sending::run_mirror::{OwnObject, RunMirror};
use crate::mirror::store::Listed;
use crate::run_dir::evaluations::{MAX_EVALUATION_BYTES, is_of_state};
use crate::run_dir::layout::RunLayout;

impl RunMirror {
    /// Sends the evaluations that are kept on disk beside checkpoints of the mirror, where the mirror has
    /// others or none. For those that were kept after their checkpoint was sent: [`RunMirror::send`] sends
    /// what there is by then. Returns of how many checkpoints they were sent.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a file cannot be read: the first one, after the others were sent; so those of
    /// [`Catalog::scan`](crate::Catalog::scan) where the mirror has checkpoints from outside of the run;
    /// [`Error::MirrorInUse`]; [`Error::Mirror`].
    pub fn send_evaluations(&mut self, run: &RunLayout) -> Result<u64> {
        let there = self.checkpoints.iter();
        let there = there.map(|checkpoint| (checkpoint.name.clone(), checkpoint.sha256().to_owned()));
        let there: Vec<(String, String)> = there.collect();
        let found = PathsOnDisk::find(run, there.iter().map(|(name, _)| name.as_str()));
        let (paths, mut unreadable) = match found {
            Ok(paths) => (paths, None),
            Err(error) => (PathsOnDisk::of_own(run), Some(error)),
        };
        let mut sent = 0;
        for (name, sha256) in there {
            for path in paths.of(&name) {
                match self.send_evaluations_of(&path, &name, &sha256) {
                    Err(error @ Error::Io { .. }) => unreadable = unreadable.or(Some(error)),
                    is_sent => sent += u64::from(is_sent?),
                }
            }
        }
        unreadable.map_or(Ok(sent), Err)
    }

    /// The same for a checkpoint that is being sent: what is wrong with a file beside it keeps it from
    /// nothing.
    pub(super) fn send_evaluations_beside(
        &mut self,
        checkpoint: &Path,
        name: &str,
        sha256: &str,
    ) -> Result<()> {
        match self.send_evaluations_of(checkpoint, name, sha256) {
            Err(error @ Error::Io { .. }) => {
                log::warn!("evaluations are not sent to the mirror: {}", chain(&error));
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    /// The same for one checkpoint, by its name in the mirror and the SHA-256 of its file.
    pub(super) fn send_evaluations_of(
        &mut self,
        checkpoint: &Path,
        name: &str,
        sha256: &str,
    ) -> Result<bool> {
        let Some(text) = read(&evaluation_path(checkpoint), sha256)? else { return Ok(false) };
        let (key, size) = (evaluations(&self.run_id, name), text.len() as u64);
        let digest = blake3_hex(&text);
        if self.objects.get(&key).is_some_and(|there| there.size == size) {
            let is_same = match self.own.get(&key) {
                Some(own) => own.has(&digest),
                None => self.store.get(&key, MAX_EVALUATION_BYTES)?.is_some_and(|(there, _)| there == text),
            };
            if is_same {
                return Ok(false);
            }
        }
        self.lease.keep()?;
        self.store.put(&key, &text)?;
        self.store.check_stored(&key, size)?;
        self.own.insert(key.clone(), OwnObject::Sent(digest));
        let modified = self.lease.writer().now();
        self.objects.insert(key.clone(), Listed { key, size, modified });
        Ok(true)
    }
}

/// The text of a file of evaluations, if there is one of this state.
fn read(path: &Path, sha256: &str) -> Result<Option<Vec<u8>>> {
    let file = match StoredFile::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io("open", path))?,
    };
    let mut text = Vec::new();
    file.take(MAX_EVALUATION_BYTES + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
    let reason = match is_of_state(&text, sha256) {
        _ if text.len() as u64 > MAX_EVALUATION_BYTES => {
            format!("it has more than {MAX_EVALUATION_BYTES} bytes")
        }
        Ok(is_of_state) => return Ok(Some(text).filter(|_| is_of_state)),
        Err(reason) => reason,
    };
    log::warn!("{} is not sent to the mirror: {reason}", path.display());
    Ok(None)
}
