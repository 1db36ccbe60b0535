//! What a mirror has of a run: its complete checkpoints, newest last, and its links. Reads the commit
//! objects, and compares the sizes that they say with those of the objects: one listing, and a request a
//! checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::mirror::commit_object::{MirroredCheckpoint, newest_finite};
use crate::mirror::object_names::{checkpoint_of_commit, lease, link};
use crate::mirror::reading::checkpoint_files::CheckpointFiles;
use crate::mirror::store::{Listed, Store};
use crate::run_dir::layout::check_run_id;

/// A run in a mirror, as it was when it was opened.
///
/// ```no_run
/// use burn_ckpt::mirror::{MirroredRun, Store};
///
/// let store = Store::connect(&"s3://bucket/prefix".parse()?)?;
/// let run = MirroredRun::open(&store, "r1")?;
/// if let Some(newest) = run.newest() {
///     println!("{} of step {}", newest.name, newest.global_step);
/// }
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug)]
pub struct MirroredRun {
    pub(crate) store: Store,
    pub(crate) run_id: String,
    pub(crate) objects: BTreeMap<String, Listed>,
    checkpoints: Vec<MirroredCheckpoint>,
    broken: Vec<(String, Error)>,
    /// Of these, those whose commit object can be read.
    incomplete: Vec<MirroredCheckpoint>,
    /// And those whose commit object cannot be read.
    unreadable: BTreeSet<String>,
    /// Those of the complete checkpoints of which the object of the metadata is lost.
    without_metadata: BTreeSet<String>,
}

impl MirroredRun {
    /// Lists a run. One that is not there has no checkpoints.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when the store cannot be read; [`Error::Name`] for an invalid id.
    pub fn open(store: &Store, run_id: &str) -> Result<Self> {
        Self::open_while(store, run_id, &mut || Ok(()))
    }

    /// The same, and calls `reads` after each commit object that was read. Its error ends the work.
    pub(crate) fn open_while(
        store: &Store,
        run_id: &str,
        reads: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Self> {
        // The same ids as on disk.
        check_run_id(run_id)?;
        let listed = store.list(run_id)?;
        let mut run = Self {
            store: store.clone(),
            run_id: run_id.to_owned(),
            objects: listed.into_iter().map(|object| (object.key.clone(), object)).collect(),
            checkpoints: Vec::new(),
            broken: Vec::new(),
            incomplete: Vec::new(),
            unreadable: BTreeSet::new(),
            without_metadata: BTreeSet::new(),
        };
        let names: Vec<String> = run
            .objects
            .keys()
            .filter_map(|key| checkpoint_of_commit(run_id, key))
            .map(str::to_owned)
            .collect();
        for name in names {
            match run.read_commit(&name) {
                Ok(Some(checkpoint)) => match run.check_whole(&checkpoint) {
                    Ok(()) => run.checkpoints.push(checkpoint),
                    Err(error @ Error::Mirror { .. }) => return Err(error),
                    Err(error) => {
                        run.incomplete.push(checkpoint);
                        run.broken.push((name, error));
                    }
                },
                // Deleted since the listing.
                Ok(None) => {}
                Err(error @ Error::Mirror { .. }) => return Err(error),
                Err(error) => {
                    run.unreadable.insert(name.clone());
                    run.broken.push((name, error));
                }
            }
            reads()?;
        }
        run.checkpoints.sort_by(|one, other| one.order().cmp(&other.order()));
        Ok(run)
    }

    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The complete checkpoints, in the order in which their states were saved.
    #[must_use]
    pub fn checkpoints(&self) -> &[MirroredCheckpoint] {
        &self.checkpoints
    }

    /// Checkpoints whose commit object is invalid or of a newer format ([`Error::NewerFormat`]), or whose
    /// content is not there, each with the error.
    #[must_use]
    pub fn broken(&self) -> &[(String, Error)] {
        &self.broken
    }

    /// The names of the complete checkpoints of which the object of the metadata is lost. They have their
    /// metadata themselves.
    pub fn without_metadata(&self) -> impl Iterator<Item = &str> {
        self.without_metadata.iter().map(String::as_str)
    }

    /// The id of the run whose checkpoints these are, where it is another one: its objects were renamed or
    /// copied.
    #[must_use]
    pub fn renamed_from(&self) -> Option<&str> {
        let committed = self.checkpoints.iter().chain(&self.incomplete);
        committed.map(|checkpoint| checkpoint.run_id.as_str()).find(|run_id| *run_id != self.run_id)
    }

    /// The same as [`MirroredRun::broken`], by value.
    #[doc(hidden)]
    #[must_use]
    pub fn into_broken(self) -> Vec<(String, Error)> {
        self.broken
    }

    /// The checkpoints whose commit object can be read, and whose content is not there as it says.
    pub(crate) fn incomplete(&self) -> &[MirroredCheckpoint] {
        &self.incomplete
    }

    /// The names of checkpoints whose commit object cannot be read.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }

    /// The error of a checkpoint that has a newer format, if there is one.
    pub(crate) fn newer_format(&self) -> Option<Error> {
        self.broken.iter().find_map(|(_, error)| newer_format(error))
    }

    /// The newest complete checkpoint.
    #[must_use]
    pub fn newest(&self) -> Option<&MirroredCheckpoint> {
        self.checkpoints.last()
    }

    /// The newest complete checkpoint without values that are NaN or infinite: the one to resume from.
    #[must_use]
    pub fn newest_finite(&self) -> Option<&MirroredCheckpoint> {
        newest_finite(&self.checkpoints)
    }

    /// The checkpoint that a name stands for: `last`, `best`, `best_val_loss` (the links), or a path as in
    /// [`MirroredCheckpoint::name`]. `last` of a run without that link is the newest complete
    /// checkpoint, and one without values that are NaN or infinite if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is none, saying which there are; [`Error::NewerFormat`] when what the
    /// name stands for has a newer format; [`Error::Mirror`].
    pub fn find(&self, name: &str) -> Result<&MirroredCheckpoint> {
        let not_found = |hint: String| Error::NotFound {
            path: PathBuf::from(self.store.shown(&self.run_id)),
            wanted: name.to_owned(),
            hint,
        };
        if let Some(found) = self.named(name)? {
            return Ok(found);
        }
        let links = self.links();
        let wanted = match name {
            "best" => {
                let best: Vec<&str> =
                    links.iter().copied().filter(|link| link.starts_with("best_")).collect();
                match best.as_slice() {
                    [only] => Some((*only).to_owned()),
                    [] => None,
                    several => return Err(not_found(format!("name one of {}", several.join(", ")))),
                }
            }
            name => {
                let stem = name.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(name);
                Some(format!("{stem}{CHECKPOINT_SUFFIX}")).filter(|link| links.contains(&link.as_str()))
            }
        };
        let target = wanted.map(|link| self.link_target(&link)).transpose()?.flatten();
        if let Some(found) = target.map(|target| self.named(&target)).transpose()?.flatten() {
            return Ok(found);
        }
        if name == "last"
            && let Some(newest) = newest_finite(&self.checkpoints).or(self.newest())
        {
            return Ok(newest);
        }
        let names: Vec<&str> =
            self.checkpoints.iter().map(|checkpoint| checkpoint.name.as_str()).chain(links).collect();
        Err(not_found(match names.is_empty() {
            true => "the mirror has no complete checkpoint of this run".to_owned(),
            false => names.join(", ") + " are there",
        }))
    }

    /// Whether the mirror has nothing of the run but who writes to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let lease = lease(&self.run_id);
        self.objects.keys().all(|key| *key == lease)
    }

    /// The address of a checkpoint, which opens it: [`Checkpoint::open`](crate::Checkpoint::open).
    #[must_use]
    pub fn address_of(&self, name: &str) -> String {
        self.store.shown(&link(&self.run_id, name))
    }

    fn named(&self, name: &str) -> Result<Option<&MirroredCheckpoint>> {
        let broken = self.broken.iter().filter(|(broken, _)| broken == name);
        match broken.into_iter().find_map(|(_, error)| newer_format(error)) {
            Some(error) => Err(error),
            None => Ok(self.checkpoints.iter().find(|checkpoint| checkpoint.name == name)),
        }
    }

    fn read_commit(&self, name: &str) -> Result<Option<MirroredCheckpoint>> {
        let files = CheckpointFiles::committed(&self.store, &self.run_id, name)?;
        Ok(files.map(|files| files.checkpoint().clone()))
    }

    /// Whether all objects are there that a commit object names, each of the size that it says. That of the
    /// metadata may be lost if the checkpoint has its metadata itself: this is noted.
    fn check_whole(&mut self, checkpoint: &MirroredCheckpoint) -> Result<()> {
        for file in &checkpoint.files {
            let key = link(&self.run_id, &file.object);
            let found = self.objects.get(&key).map(|object| object.size);
            if found == Some(file.size) {
                continue;
            }
            let files = || CheckpointFiles::of(&self.store, &self.run_id, checkpoint);
            if file.name == checkpoint.metadata_name() && files().has_own_metadata()? {
                self.without_metadata.insert(checkpoint.name.clone());
                continue;
            }
            let found = found.map_or("none".to_owned(), |size| format!("{size} bytes"));
            let path = PathBuf::from(self.store.shown(&key));
            return Err(Error::checksum(&path, format!("{} bytes", file.size), found));
        }
        Ok(())
    }
}

/// The same error, if it is of a newer format.
fn newer_format(error: &Error) -> Option<Error> {
    match error {
        Error::NewerFormat { path, format, found, supported } => {
            let (format, found, supported) = (*format, *found, *supported);
            Some(Error::NewerFormat { path: path.clone(), format, found, supported })
        }
        _ => None,
    }
}
