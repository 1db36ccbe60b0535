//! The steps of one save: container, digests, metadata, commit, and the other names of the same state.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::disk::commit::{StagedCheckpoint, commit};
use crate::disk::directories::{
    create_directory, create_durable_directory, is_there, parent, remove_if_there,
};
use crate::disk::staged_file::Existing;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, metadata_path, shards_directory};
use crate::format::contents::Contents;
use crate::format::metadata::{Metadata, ShardInfo};
use crate::save::container::plan_state::plan_state;
use crate::save::container::write_state::{read_back, write_state};
use crate::save::read_progress::ReadProgress;
use crate::save::urgency::Pace;

/// How many names a state is tried under: so many runs do not take names in one directory at a time.
const MAX_RENAMES: u32 = 8;

impl Contents {
    /// Writes a checkpoint with its metadata, on this thread, for programs without a training loop. Returns
    /// the size in bytes of its file, or files.
    ///
    /// Fields of `metadata` that follow from the file (path, size, digests, tensors, hyperparameters) are
    /// filled in. A checkpoint of that name is replaced. Checkpoint and metadata are two files: a failure
    /// between their renames leaves the older checkpoint beside the newer metadata file, which readers then
    /// do not believe, with a warning.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a file cannot be written, [`Error::Container`] when a tensor cannot be read,
    /// [`Error::Snapshot`] when the metadata cannot be written as JSON, [`Error::Name`] for a section's name,
    /// [`Error::TooLarge`] for more than a reader accepts, [`Error::FileLimit`] for a part that is larger
    /// than [`Contents::with_max_file_bytes`] allows. A checkpoint of several files does not replace another
    /// one of several, which is an [`Error::Io`] of the kind "already exists".
    pub fn save(self, path: impl AsRef<Path>, metadata: Metadata) -> Result<u64> {
        self.save_with(path, metadata, Existing::Replace)
    }

    /// The same with what becomes of a file that has the name already.
    ///
    /// # Errors
    ///
    /// As for [`Contents::save`]; an [`Error::Io`] of the kind "already exists" for a file that is kept.
    #[doc(hidden)]
    pub fn save_with(
        self,
        path: impl AsRef<Path>,
        mut metadata: Metadata,
        existing: Existing,
    ) -> Result<u64> {
        let path = path.as_ref();
        // Metadata without a checkpoint describes nothing.
        if existing == Existing::Keep && !is_there(path)? {
            remove_if_there(&metadata_path(path))?;
        }
        metadata.hparams = self.hparams.clone();
        let reason = std::mem::take(&mut metadata.reason);
        persist(
            self,
            metadata,
            &[(path.to_path_buf(), reason)],
            &Naming::new(existing, StagingOwner::default()),
            &ReadProgress::default(),
            &Arc::new(Pace::urgent()),
            Names { rename: &mut |_| None, durable: &mut |_, _| () },
        )
    }
}

/// How files get their names.
#[derive(Debug)]
pub(crate) struct Naming {
    existing: Existing,
    /// Whose the staging files are.
    owner: StagingOwner,
    /// The directories in which all names are durable, with all above them.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Naming {
    pub(crate) fn new(existing: Existing, owner: StagingOwner) -> Self {
        Self { existing, owner, durable: Mutex::default() }
    }

    /// Creates a directory, and makes its name durable, once.
    fn prepare(&self, directory: &Path) -> Result<()> {
        create_durable_directory(directory, &mut self.durable.lock())
    }
}

/// What a save does with the names of a state.
pub(crate) struct Names<'a> {
    /// The next name for a state whose name another run has taken, and what the trainer says in a state of
    /// that name. `None` where there is no other name.
    pub(crate) rename: &'a mut dyn FnMut(&Path) -> Option<(PathBuf, Value)>,
    /// Called for each name as soon as the checkpoint under it is durable, with its metadata.
    pub(crate) durable: &'a mut dyn FnMut(&Path, &Metadata),
}

/// Writes a state once under all its names, each with metadata of its own that states the reason.
///
/// If one name fails, the state is written under the next one. A name that another run has taken since it was
/// reserved is replaced by the next number of it. The state says its names, so it is written again for that.
/// Returns the size of its files in bytes, or the first error.
pub(crate) fn persist(
    mut contents: Contents,
    mut metadata: Metadata,
    places: &[(PathBuf, String)],
    naming: &Naming,
    reading: &ReadProgress,
    pace: &Arc<Pace>,
    Names { rename, durable }: Names<'_>,
) -> Result<u64> {
    let mut done: Vec<&Path> = Vec::new();
    // The newest name of what was written last: `metadata` describes that.
    let mut written: Option<PathBuf> = None;
    let mut failure: Option<Error> = None;
    for (reserved, reason) in places {
        // Two strategies may share a file.
        if done.contains(&reserved.as_path()) {
            continue;
        }
        let (mut place, mut renames) = (reserved.clone(), 0);
        let committed = loop {
            let committed = naming.prepare(parent(&place)).and_then(|()| {
                // Already here, as a large state takes minutes to write.
                check_name(&place, naming.existing)?;
                let staged = match &written {
                    None => stage(contents.clone(), &mut metadata, &place, reason, naming, (reading, pace))?,
                    Some(first) => second_name(first, &metadata.shards, &place, &naming.owner)?,
                };
                let json = metadata_json(&mut metadata, &place, reason)?;
                commit(staged, &json, naming.existing, &naming.owner)
            });
            let Err(error) = committed else { break Ok(()) };
            let next = (is_taken(&error, &place) && renames < MAX_RENAMES).then(|| rename(&place)).flatten();
            let Some((next, trainer_state)) = next else { break Err(error) };
            log::info!(
                "{} was taken by another run: the state is saved as {}",
                place.display(),
                next.display()
            );
            (place, contents.trainer_state, written, renames) = (next, trainer_state, None, renames + 1);
        };
        match committed {
            Ok(()) => {
                durable(&place, &metadata);
                done.push(reserved);
                written = Some(place);
            }
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(metadata.total_bytes()), Err)
}

/// Fails for a name that is taken already, if nothing is to be replaced. An error of the system counts as
/// free here: publishing the state meets it again, and replaces no file.
fn check_name(place: &Path, existing: Existing) -> Result<()> {
    let metadata = metadata_path(place);
    let mut names = [place, &metadata].into_iter().filter(|_| existing == Existing::Keep);
    match names.find(|path| matches!(is_there(path), Ok(true))) {
        Some(taken) => Err(Error::io("create", taken)(ErrorKind::AlreadyExists.into())),
        None => Ok(()),
    }
}

/// Whether a commit failed as there is a checkpoint of that name, or a file of one.
fn is_taken(error: &Error, place: &Path) -> bool {
    let Error::Io { path, .. } = error else { return false };
    let is_of_place = [place, &metadata_path(place), &shards_directory(place)].contains(&path.as_path());
    is_of_place && error.kind() == crate::ErrorKind::AlreadyExists
}

/// Gives a checkpoint another name, with metadata of its own that states the reason. A run that was killed
/// between two names of a state gets the missing one when it is opened again.
///
/// # Errors
///
/// [`Error::Io`] when a file cannot be written or the name exists; [`Error::Metadata`] when the checkpoint's
/// metadata is invalid.
pub fn add_name(checkpoint: &Path, place: &Path, reason: &str, owner: &StagingOwner) -> Result<()> {
    let mut metadata = Metadata::of_checkpoint(checkpoint)?;
    metadata.fill_in_checksum(checkpoint)?;
    create_directory(parent(place))?;
    let orphan = metadata_path(place);
    if !is_there(place)? && Metadata::read(&orphan).is_ok_and(|orphan| orphan.run_id == metadata.run_id) {
        // The process was killed between writing the two files. `recover` has removed such metadata from the
        // run's own directories, but not from others.
        remove_if_there(&orphan)?;
    }
    let staged = second_name(checkpoint, &metadata.shards, place, owner)?;
    commit(staged, &metadata_json(&mut metadata, place, reason)?, Existing::Keep, owner)
}

/// Stages a second name of a checkpoint. Where that is a copy, it is read back as the first was.
fn second_name(
    committed: &Path,
    shards: &[ShardInfo],
    place: &Path,
    owner: &StagingOwner,
) -> Result<StagedCheckpoint> {
    let staged = StagedCheckpoint::second_name(committed, shards.len(), place, owner)?;
    if staged.container.is_copy {
        read_back(&staged, shards)?;
    }
    Ok(staged)
}

/// Writes the files of a state, and fills in the metadata that follows from them.
fn stage(
    contents: Contents,
    metadata: &mut Metadata,
    place: &Path,
    reason: &str,
    naming: &Naming,
    (reading, pace): (&ReadProgress, &Arc<Pace>),
) -> Result<StagedCheckpoint> {
    reading.start();
    reason.clone_into(&mut metadata.reason);
    let planned = plan_state(place, contents, metadata)?;
    write_state(planned, metadata, place, &naming.owner, reading, pace)
}

/// The metadata's JSON for a checkpoint under one of its names.
pub(crate) fn metadata_json(metadata: &mut Metadata, path: &Path, reason: &str) -> Result<String> {
    metadata.checkpoint_path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    metadata.reason = reason.to_owned();
    metadata.to_json()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{File, read_dir};
    use std::os::unix::fs::FileExt;

    use burn_pack::{Bytes, DType, Tensor};

    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};
    use crate::format::section::Section;

    /// A disk without hard links, that does not keep what was copied.
    struct LosesCopies(fn(&File));

    impl Observer for LosesCopies {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            match operation {
                Operation::HardLink { .. } => Verdict::Fail(ErrorKind::Unsupported.into()),
                _ => Verdict::Proceed,
            }
        }

        fn after(&self, operation: &Operation<'_>) {
            if let Operation::CopyContent { path, .. } = operation {
                let file = File::options().write(true).open(path);
                self.0(&file.unwrap_or_else(|error| panic!("{error}")));
            }
        }
    }

    #[test]
    fn a_second_name_that_is_a_copy_is_durable_only_if_it_can_be_read() {
        type Lost = (fn(&File), bool);
        let lost: [Lost; 4] = [
            (|_| (), true),
            (|file| file.set_len(0).unwrap(), false),
            (|file| file.set_len(100).unwrap(), false),
            (|file| file.write_all_at(&[0; 64], 0).unwrap(), false),
        ];
        for (lose, is_whole) in lost {
            let directory = tempfile::tempdir().unwrap();
            let [first, second] = ["a.ckpt", "b.ckpt"].map(|name| directory.path().join(name));
            let tensor = |length| {
                let bytes = Bytes::from_bytes_vec(vec![7; length]);
                Tensor::new("w".to_owned(), DType::U8, vec![length], None, bytes)
            };
            let model = Section::new().with_tensors(vec![tensor(64)]);
            let contents = Contents::default().with_section(Section::MODEL, model);
            contents.save(&first, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
            let observation = observe(directory.path(), Arc::new(LosesCopies(lose)));
            let added = add_name(&first, &second, "again", &StagingOwner::default());
            drop(observation);
            assert_eq!(added.is_ok(), is_whole, "{added:?}");
            if let Err(error) = added {
                assert!(matches!(error, Error::ReadBack { .. } | Error::Checksum { .. }), "{error:?}");
            }
            assert_eq!(second.exists(), is_whole);
            assert_eq!(read_dir(directory.path()).unwrap().count(), if is_whole { 4 } else { 2 });
        }
    }
}
