//! A checkpoint from a mirror to disk: compared with its digests while it is written to staging files, and
//! then committed as a save is.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::disk::commit::{StagedCheckpoint, commit, remove_beside};
use crate::disk::directories::{create_directory, parent};
use crate::disk::staged_file::{Existing, Staged, write_whole};
use crate::disk::staged_shards::StagedShards;
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, evaluation_path, shard_name, shards_directory};
use crate::format::container::open_file::OpenFile;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::mirror::commit_object::{MirroredCheckpoint, MirroredFile};
use crate::mirror::digests::Digests;
use crate::mirror::object_names::{evaluations, link};
use crate::mirror::reading::checkpoint_files::{file_of, is_lost, small_file, warn_of_lost};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::Progress;
use crate::run_dir::evaluations::{MAX_EVALUATION_BYTES, is_of_state};
use crate::run_dir::layout::RunLayout;
use crate::run_dir::replaced_shards::{check_way, commit_over, make_way_for_shards, remove_replaced};

impl MirroredRun {
    /// Gets a checkpoint into a run's directory, under the name that it had there, with its evaluations.
    /// Returns its path. Another state of that name is replaced, once all of this one has arrived: a process
    /// that is killed leaves one of the two complete.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] when the mirror has other bytes than were sent; [`Error::Damaged`] for a commit
    /// object that names other files than a checkpoint has; [`Error::Io`]; [`Error::Mirror`].
    pub fn download(
        &self,
        checkpoint: &MirroredCheckpoint,
        run: &RunLayout,
        progress: Progress<'_>,
    ) -> Result<PathBuf> {
        self.download_after(checkpoint, run, || Ok(()), progress)
    }

    /// The same with work that is done once all of the checkpoint has arrived, and before anything on disk is
    /// replaced. After its error the disk is as it was, but for that work.
    ///
    /// # Errors
    ///
    /// As for [`MirroredRun::download`], and that of the work.
    pub fn download_after(
        &self,
        checkpoint: &MirroredCheckpoint,
        run: &RunLayout,
        work: impl FnOnce() -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<PathBuf> {
        let place = run.checkpoint_dir().join(&checkpoint.name);
        let arrived = self.stage(checkpoint, &place, progress)?;
        let evaluations = self.evaluations_of(checkpoint)?;
        work()?;
        let has_shards = arrived.files.shards.is_some();
        if has_shards {
            make_way_for_shards(&place)?;
        }
        let path = evaluation_path(&place);
        if let Some(text) = &evaluations {
            // Before the checkpoint: the next start downloads both if this ends in between.
            write_whole(&path, Existing::Replace, |file| {
                file.write_all(text).map_err(Error::io("write", &path))
            })?;
        }
        arrived.commit(Existing::Replace)?;
        if has_shards {
            remove_replaced(&place)?;
        }
        if evaluations.is_none() {
            // Of the state that was there.
            remove_beside(&path)?;
        }
        Ok(place)
    }

    /// The same to a file of another name. A checkpoint of that name is kept, and an error.
    ///
    /// # Errors
    ///
    /// As for [`MirroredRun::download`].
    pub fn download_to(
        &self,
        checkpoint: &MirroredCheckpoint,
        place: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.download_as(checkpoint, place.as_ref(), Existing::Keep, progress)
    }

    /// The same, but a checkpoint of that name is replaced, once all of this one has arrived.
    ///
    /// # Errors
    ///
    /// As for [`MirroredRun::download`].
    pub fn download_over(
        &self,
        checkpoint: &MirroredCheckpoint,
        place: impl AsRef<Path>,
        progress: Progress<'_>,
    ) -> Result<()> {
        self.download_as(checkpoint, place.as_ref(), Existing::Replace, progress)
    }

    fn download_as(
        &self,
        checkpoint: &MirroredCheckpoint,
        place: &Path,
        existing: Existing,
        progress: Progress<'_>,
    ) -> Result<()> {
        if !self.files_of(checkpoint)?.shards.is_empty() {
            check_way(place, existing)?;
        }
        let Arrived { files, metadata, owner } = self.stage(checkpoint, place, progress)?;
        commit_over(files, &metadata, existing, &owner)
    }

    /// The evaluations of a checkpoint. Those of another state of its name are left out, and what is not the
    /// text of evaluations.
    fn evaluations_of(&self, checkpoint: &MirroredCheckpoint) -> Result<Option<Vec<u8>>> {
        let key = evaluations(&self.run_id, &checkpoint.name);
        if self.objects.get(&key).is_none_or(|object| object.size > MAX_EVALUATION_BYTES) {
            return Ok(None);
        }
        let Some((text, _)) = self.store.get(&key, MAX_EVALUATION_BYTES)? else { return Ok(None) };
        match is_of_state(&text, checkpoint.sha256()) {
            Ok(is_of_state) => Ok(Some(text).filter(|_| is_of_state)),
            Err(reason) => {
                log::warn!("{} is left out: {reason}", self.store.shown(&key));
                Ok(None)
            }
        }
    }

    /// Gets all files of a checkpoint, compared with their digests, under names of their own.
    fn stage(
        &self,
        checkpoint: &MirroredCheckpoint,
        place: &Path,
        progress: Progress<'_>,
    ) -> Result<Arrived> {
        let Files { own, metadata, shards } = self.files_of(checkpoint)?;
        create_directory(parent(place))?;
        let owner = StagingOwner::default();
        let staged_shards = match shards.is_empty() {
            true => None,
            false => {
                let mut staged = StagedShards::create(place, &owner)?;
                for (number, shard) in (1..).zip(&shards) {
                    let file = staged.create_file(number, shards.len())?;
                    self.write(shard, file, progress)?;
                }
                Some(staged)
            }
        };
        let (container, file) = Staged::create(place, &owner)?;
        self.write(own, file, progress)?;
        let metadata = match self.read_metadata(metadata) {
            Err(error) if is_lost(&error) => own_metadata(checkpoint, container.path(), error)?,
            read => read?,
        };
        let files = StagedCheckpoint { container, shards: staged_shards };
        Ok(Arrived { files, metadata, owner })
    }

    /// Writes one file, and compares it with its digest.
    fn write(&self, from: &MirroredFile, mut file: StoredFile, progress: Progress<'_>) -> Result<()> {
        let key = link(&self.run_id, &from.object);
        let path = file.path().to_path_buf();
        file.reserve(from.size).map_err(Error::io("reserve the space for", &path))?;
        let mut digests = Digests::default();
        let mut write = |bytes: &[u8]| {
            digests.update(bytes);
            file.write_all(bytes).map_err(Error::io("write", &path))
        };
        self.store.download(&key, from.size, &mut write, progress)?;
        digests.check(Path::new(&self.store.shown(&key)), &from.sha256)?;
        file.sync().map_err(Error::io("sync", &path))
    }

    fn read_metadata(&self, file: &MirroredFile) -> Result<String> {
        let path = PathBuf::from(self.store.shown(&link(&self.run_id, &file.object)));
        let bytes = small_file(&self.store, &self.run_id, file, &path)?;
        String::from_utf8(bytes)
            .map_err(|error| Error::damaged(&path, "it is not UTF-8", Some(Box::new(error))))
    }

    /// The files that a checkpoint has, of those that its commit object names.
    fn files_of<'a>(&self, checkpoint: &'a MirroredCheckpoint) -> Result<Files<'a>> {
        let file = |name: &str| file_of(&self.store, &self.run_id, checkpoint, name);
        let own = file(&checkpoint.name)?;
        let metadata = file(&checkpoint.metadata_name())?;
        let directory = shards_directory(Path::new(&checkpoint.name)).to_string_lossy().into_owned();
        let count = checkpoint.files.len().saturating_sub(2);
        let shards = (1..=count)
            .map(|number| file(&format!("{directory}/{}", shard_name(number, count))))
            .collect::<Result<Vec<_>>>()?;
        Ok(Files { own, metadata, shards })
    }
}

/// The metadata of a checkpoint that has arrived, and whose object of metadata is lost. One of version 1 has
/// none itself: then the error stays.
fn own_metadata(checkpoint: &MirroredCheckpoint, arrived: &Path, lost: Error) -> Result<String> {
    let Some(own) = EmbeddedMetadata::read(&OpenFile::open(arrived)?)? else { return Err(lost) };
    warn_of_lost(&lost);
    checkpoint.completed(own.metadata).to_json()
}

/// A checkpoint that is on disk, and has no name yet.
struct Arrived {
    files: StagedCheckpoint,
    metadata: String,
    owner: StagingOwner,
}

impl Arrived {
    fn commit(self, existing: Existing) -> Result<()> {
        commit(self.files, &self.metadata, existing, &self.owner)
    }
}

struct Files<'a> {
    own: &'a MirroredFile,
    metadata: &'a MirroredFile,
    shards: Vec<&'a MirroredFile>,
}
