//! The files of one checkpoint in a mirror, found by its address: read by ranges, without a copy on disk.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::container::open_file::OpenFile;
use crate::format::limits::MAX_METADATA_BYTES;
use crate::format::metadata::Metadata;
use crate::mirror::address::MirrorAddress;
use crate::mirror::commit_object::{MAX_COMMIT_BYTES, MirroredCheckpoint, MirroredFile};
use crate::mirror::digests::Digests;
use crate::mirror::object_names::{commit, link};
use crate::mirror::reading::by_address;
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::{RangedFile, Store};

/// The files of a checkpoint in a mirror.
#[derive(Debug)]
pub(crate) struct CheckpointFiles {
    store: Store,
    run_id: String,
    checkpoint: MirroredCheckpoint,
}

impl CheckpointFiles {
    /// The checkpoint of an address: `s3://bucket/prefix/run/best`, `s3://bucket/prefix/run/last`, or
    /// `s3://bucket/prefix/run/checkpoint/last/X.ckpt`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is none; those of [`MirroredRun::open`].
    pub(crate) fn find(address: &MirrorAddress) -> Result<Self> {
        by_address::find(address, Self::find_in)
    }

    /// The same with a store that is connected.
    pub(crate) fn find_in(store: &Store, run_id: &str, name: &str) -> Result<Self> {
        let checkpoint = match Self::committed(store, run_id, name)? {
            Some(checkpoint) => checkpoint,
            None => MirroredRun::open(store, run_id)?.find(name)?.clone(),
        };
        Ok(Self { store: store.clone(), run_id: run_id.to_owned(), checkpoint })
    }

    /// A checkpoint that is named by its path, without a listing.
    fn committed(store: &Store, run_id: &str, name: &str) -> Result<Option<MirroredCheckpoint>> {
        if !name.contains('/') {
            return Ok(None);
        }
        let key = commit(run_id, name);
        let Some((json, _)) = store.get(&key, MAX_COMMIT_BYTES)? else { return Ok(None) };
        MirroredCheckpoint::parse(&json, run_id, name, &store.shown(&key)).map(Some)
    }

    pub(crate) fn checkpoint(&self) -> &MirroredCheckpoint {
        &self.checkpoint
    }

    /// The address of a file, in place of a path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.store.shown(&link(&self.run_id, name)))
    }

    /// Opens a file. Reads nothing yet.
    pub(crate) fn open(&self, name: &str) -> Result<OpenFile> {
        let file = self.file(name)?;
        let key = link(&self.run_id, &file.object);
        let ranges = RangedFile::new(self.store.clone(), key, file.size);
        Ok(OpenFile::of_ranges(self.path(name), file.size, Box::new(ranges)))
    }

    /// A whole file that is in memory at once, compared with its digest.
    pub(crate) fn read_small(&self, name: &str) -> Result<Vec<u8>> {
        small_file(&self.store, &self.run_id, self.file(name)?, &self.path(name))
    }

    fn file(&self, name: &str) -> Result<&MirroredFile> {
        file_of(&self.store, &self.run_id, &self.checkpoint, name)
    }
}

/// A file of a checkpoint, as its commit object names it.
///
/// # Errors
///
/// [`Error::Damaged`] for a commit object that does not name it.
pub(super) fn file_of<'a>(
    store: &Store,
    run_id: &str,
    checkpoint: &'a MirroredCheckpoint,
    name: &str,
) -> Result<&'a MirroredFile> {
    checkpoint.files.iter().find(|file| file.name == name).ok_or_else(|| {
        let path = PathBuf::from(store.shown(&commit(run_id, &checkpoint.name)));
        Error::damaged(&path, format!("it lacks {name}"), None)
    })
}

/// A whole file that is in memory at once, compared with its digest. `shown` is what an error names.
///
/// # Errors
///
/// [`Error::Damaged`] for one that is too large, [`Error::Checksum`] for other bytes, [`Error::Mirror`].
pub(super) fn small_file(store: &Store, run_id: &str, file: &MirroredFile, shown: &Path) -> Result<Vec<u8>> {
    if file.size > MAX_METADATA_BYTES {
        let reason = format!("it has {} bytes, and {MAX_METADATA_BYTES} are allowed", file.size);
        return Err(Error::damaged(shown, reason, None));
    }
    let bytes = store.get_range(&link(run_id, &file.object), 0..file.size)?;
    let mut digests = Digests::default();
    digests.update(&bytes);
    digests.check(shown, &file.sha256)?;
    Ok(bytes)
}

/// The metadata beside a checkpoint in a mirror. It is read when it is asked for.
#[derive(Debug)]
pub(crate) struct MirroredMetadata {
    files: CheckpointFiles,
    name: String,
}

impl MirroredMetadata {
    /// That of a file's name.
    pub(crate) fn new(files: CheckpointFiles, name: String) -> Self {
        Self { files, name }
    }

    pub(crate) fn read(&self) -> Result<Metadata> {
        let text = self.files.read_small(&self.name)?;
        Metadata::of_text(&self.files.path(&self.name), &text)
    }
}
