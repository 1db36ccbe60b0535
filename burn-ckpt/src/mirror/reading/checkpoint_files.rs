//! The files of one checkpoint in a mirror, found by its address: read by ranges, without a copy on disk.

use std::path::{Path, PathBuf};

use crate::error::chain::chain;
use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::format::container::open_file::OpenFile;
use crate::format::limits::MAX_METADATA_BYTES;
use crate::format::metadata::Metadata;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::mirror::commit_object::{MAX_COMMIT_BYTES, MirroredCheckpoint, MirroredFile};
use crate::mirror::digests::Digests;
use crate::mirror::object_names::{commit, link};
use crate::mirror::store::{RangedFile, Store};

/// The files of a checkpoint in a mirror.
#[derive(Debug)]
pub(crate) struct CheckpointFiles {
    store: Store,
    run_id: String,
    checkpoint: MirroredCheckpoint,
}

impl CheckpointFiles {
    /// That of a commit object.
    pub(super) fn committed(store: &Store, run_id: &str, name: &str) -> Result<Option<Self>> {
        let key = commit(run_id, name);
        let Some((json, _)) = store.get(&key, MAX_COMMIT_BYTES)? else { return Ok(None) };
        let checkpoint = MirroredCheckpoint::parse(&json, name, &store.shown(&key))?;
        Ok(Some(Self::of(store, run_id, &checkpoint)))
    }

    /// Those of a checkpoint that was found.
    pub(super) fn of(store: &Store, run_id: &str, checkpoint: &MirroredCheckpoint) -> Self {
        Self { store: store.clone(), run_id: run_id.to_owned(), checkpoint: checkpoint.clone() }
    }

    /// Whether all objects but that of the metadata are there, each of its size.
    pub(super) fn are_there(&self) -> Result<bool> {
        let metadata = self.checkpoint.metadata_name();
        for file in self.checkpoint.files.iter().filter(|file| file.name != metadata) {
            if self.store.size(&link(&self.run_id, &file.object))? != Some(file.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the checkpoint's own file is there, and has the metadata itself, as of version 2.
    pub(super) fn has_own_metadata(&self) -> Result<bool> {
        match self.own_metadata() {
            Ok(own) => Ok(own.is_some()),
            Err(error) if is_lost(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn own_metadata(&self) -> Result<Option<Metadata>> {
        let own = EmbeddedMetadata::read(&self.open(&self.checkpoint.name)?)?;
        Ok(own.map(|own| self.checkpoint.completed(own.metadata)))
    }

    /// The metadata: the object of it, or where that is lost what the checkpoint's own file has.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        let name = self.checkpoint.metadata_name();
        let path = self.path(&name);
        let lost = match self.read_small(&name).and_then(|text| Metadata::of_text(&path, &text)) {
            Err(error) if is_lost(&error) => error,
            read => return read,
        };
        match self.own_metadata()? {
            Some(own) => {
                warn_of_lost(&lost);
                Ok(own)
            }
            None => Err(lost),
        }
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

/// Whether an error says that an object is not there, or has other bytes than were sent.
pub(super) fn is_lost(error: &Error) -> bool {
    use MirrorFailure::NotFound;
    matches!(
        error,
        Error::Checksum { .. }
            | Error::Damaged { .. }
            | Error::Metadata { .. }
            | Error::Mirror { failure: NotFound, .. }
    )
}

/// Says that the object of the metadata is not used.
pub(super) fn warn_of_lost(error: &Error) {
    log::warn!("{}. The metadata in the checkpoint's own file is used", chain(error));
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

    /// Completes what the checkpoint's own file has, where the object of the metadata is lost.
    pub(crate) fn complete(&self, own: Metadata) -> Metadata {
        self.files.checkpoint.completed(own)
    }
}
