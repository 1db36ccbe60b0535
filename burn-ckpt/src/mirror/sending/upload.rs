//! How a checkpoint is sent: content first, the metadata next, the commit object last.
//!
//! | the writer ended | what is in the mirror |
//! |---|---|
//! | while content was sent | content without a commit object, which no reader believes |
//! | after the commit object was written | a complete checkpoint; links may name an older one |
//!
//! Content is never overwritten by other content. So nothing that a reader believes can become wrong.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::metrics_log::METRICS_FILE;
use crate::mirror::commit_object::{MAX_COMMIT_BYTES, MirroredCheckpoint, MirroredFile};
use crate::mirror::digests::Digests;
use crate::mirror::lease::Lease;
use crate::mirror::object_names::{check_relative, commit, content as content_name, link};
use crate::mirror::sending::local_checkpoint::{LocalCheckpoint, LocalFile};
use crate::mirror::sending::local_names::name_in_mirror;
use crate::mirror::sending::run_mirror::{OwnObject, RunMirror};
use crate::mirror::store::{Listed, Progress};
use crate::run_dir::layout::RunLayout;

/// What became of a checkpoint that was to be sent.
///
/// See the [module's example](crate::mirror).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its name in the mirror, relative to the run's `checkpoint` directory.
    pub name: String,
    /// The bytes that were sent; 0 if it was there already, or other names of its content are.
    pub bytes: u64,
    /// Whether it was there already.
    pub was_there: bool,
}

impl RunMirror {
    /// Sends a checkpoint of the run, the part of the run's log of metrics that belongs to it, and the
    /// evaluations that are kept beside it. A checkpoint that is there is not sent again, nor is content that
    /// is there under another name. What an attempt before has sent of several files is not sent again by
    /// this writer. Evaluations that cannot be read are left out, with a warning in the log.
    ///
    /// `progress` gets the number of bytes that were just sent. Its error ends the work.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] when the file on disk has other bytes than its metadata says: it is not sent;
    /// [`Error::Name`] for a path that no reader of a mirror accepts;
    /// [`Error::MirrorInUse`]; [`Error::Mirror`]; [`Error::Io`] of `progress`; those of opening a checkpoint.
    pub fn send(
        &mut self,
        run: &RunLayout,
        checkpoint: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<Sent> {
        self.lease.keep()?;
        let opened = LocalCheckpoint::open(checkpoint.as_ref())?;
        let name = name_in_mirror(run, &opened.path)?;
        let (files, mut commit) = while_lease_is_kept(&mut self.lease, &|_| Ok(()), |progress| {
            opened.files(&self.run_id, &name, progress)
        })?;
        // Those of shards are one directory deeper than the checkpoint.
        files.iter().try_for_each(|file| check_relative("the file's name in the mirror", &file.name))?;
        if let Some(there) = self.checkpoints.iter().find(|there| there.name == name)
            && files.iter().all(|file| {
                there.files.iter().any(|one| (&one.name, &one.sha256) == (&file.name, &file.sha256))
            })
        {
            let sha256 = there.sha256().to_owned();
            self.send_evaluations_beside(&opened.path, &name, &sha256)?;
            return Ok(Sent { name, bytes: 0, was_there: true });
        }
        let mut bytes = 0;
        for file in files {
            let (sent, length) = self.send_file(file, progress)?;
            bytes += length;
            commit.files.push(sent);
        }
        if let Some(mark) = opened.log_mark() {
            let log = run.run_dir().join(METRICS_FILE);
            // A log that was written again, or cut, is not this checkpoint's any more.
            if mark.is_in(&log).map_err(Error::io("read", &log))? {
                commit.metrics_log = Some(self.send_log_up_to(&log, mark.bytes)?);
            }
        }
        let sha256 = commit.sha256().to_owned();
        self.send_evaluations_beside(&opened.path, &name, &sha256)?;
        self.commit(commit)?;
        Ok(Sent { name, bytes, was_there: false })
    }

    /// Sends a file, unless its content is there. Returns how many bytes were sent.
    fn send_file(&mut self, file: LocalFile, progress: Progress<'_>) -> Result<(MirroredFile, u64)> {
        let LocalFile { name, sha256, content } = file;
        let size = content.size();
        // Only of this writer's: another one that still deletes does not know who else has its content.
        let own = self.checkpoints.iter().filter(|checkpoint| checkpoint.term == self.lease.term());
        let mut committed = own.flat_map(|checkpoint| &checkpoint.files);
        if let Some(there) = committed.find(|there| there.sha256 == sha256 && there.size == size) {
            return Ok((MirroredFile { name, ..there.clone() }, 0));
        }
        let object = self.object_for(&name, &sha256);
        let key = link(&self.run_id, &object);
        let is_there = matches!(self.own.get(&key), Some(OwnObject::Sent(_)));
        self.own.insert(key.clone(), OwnObject::Begun(sha256.clone()));
        let mut digests = Digests::default();
        if is_there {
            content.read_whole(&mut digests, &mut || self.lease.keep())?;
        } else {
            let (mut position, path) = (0, content.path());
            let mut read = |piece: &mut [u8]| {
                content.read(piece, position)?;
                digests.update(piece);
                position += piece.len() as u64;
                match position == size {
                    // Before the object gets its name.
                    true => digests.check(&path, &sha256),
                    false => Ok(()),
                }
            };
            while_lease_is_kept(&mut self.lease, progress, |progress| {
                self.store.upload(&key, size, &mut read, progress)
            })?;
        }
        digests.check(&content.path(), &sha256)?;
        self.store.check_stored(&key, size)?;
        self.own.insert(key.clone(), OwnObject::Sent(sha256.clone()));
        let modified = self.lease.writer().now();
        self.objects.insert(key.clone(), Listed { key, size, modified });
        let blake3 = digests.blake3();
        let sent = if is_there { 0 } else { size };
        Ok((MirroredFile { name, object, size, sha256, blake3 }, sent))
    }

    /// The name of the object for a file's content: one under which there is nothing else.
    fn object_for(&self, file: &str, sha256: &str) -> String {
        let is_free = |object: &String| {
            let key = link(&self.run_id, object);
            match self.own.get(&key) {
                Some(own) => own.has(sha256),
                None => !self.objects.contains_key(&key),
            }
        };
        let mut names = (0..).map(|attempt| content_name(file, self.lease.term(), attempt));
        names.find(is_free).unwrap_or_default()
    }

    /// Writes the commit object of what this writer has sent.
    fn commit(&mut self, mut commit_object: MirroredCheckpoint) -> Result<()> {
        self.lease.keep()?;
        self.empty_links_to_other_state(&commit_object)?;
        commit_object.term = self.lease.term();
        self.write_commit(commit_object)
    }

    /// Writes a commit object, and reads it back.
    pub(super) fn write_commit(&mut self, mut commit_object: MirroredCheckpoint) -> Result<()> {
        commit_object.committed = self.lease.writer().now();
        let (key, json) = (commit(&self.run_id, &commit_object.name), commit_object.to_json()?);
        if self.store.put_new(&key, &json)?.is_none()
            && let Some((there, version)) = self.store.get(&key, MAX_COMMIT_BYTES)?
            && there != json
        {
            // Of an earlier state of that name, or one that was cut off. If another writer has taken the
            // lease over since it was read, one of these two fails.
            self.lease.renew()?;
            self.store.replace(&key, &json, &version)?;
        }
        match self.store.get(&key, MAX_COMMIT_BYTES)? {
            Some((there, _)) if there == json => {}
            _ => {
                let reason = "the store does not give back what was written".to_owned();
                return Err(self.store.failure("write", &key, MirrorFailure::Failed, reason));
            }
        }
        let (size, modified) = (json.len() as u64, commit_object.committed);
        self.objects.insert(key.clone(), Listed { key, size, modified });
        self.unreadable.remove(&commit_object.name);
        self.incomplete.retain(|there| there.name != commit_object.name);
        self.checkpoints.retain(|there| there.name != commit_object.name);
        self.checkpoints.push(commit_object);
        self.checkpoints.sort_by(|one, other| one.order().cmp(&other.order()));
        Ok(())
    }
}

/// Does what can take longer than the lease: what `work` gets calls `progress`, and renews the lease.
fn while_lease_is_kept<T>(
    lease: &mut Lease,
    progress: Progress<'_>,
    work: impl FnOnce(Progress<'_>) -> Result<T>,
) -> Result<T> {
    let (lease, failure) = (RefCell::new(lease), RefCell::new(None));
    let done = work(&|bytes| {
        progress(bytes)?;
        lease.borrow_mut().keep().map_err(|error| {
            *failure.borrow_mut() = Some(error);
            io::Error::other("the lease cannot be renewed")
        })
    });
    done.map_err(|error| failure.take().unwrap_or(error))
}
