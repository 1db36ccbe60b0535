//! The checkpoints that are in a run's directories at a look, in the order in which they were saved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::Value;

use crate::disk::directories::{entry, list, parent, stat};
use crate::disk::file_identity::{FileIdentity, file_identity};
use crate::disk::storage;
use crate::error::kind::ErrorKind;
use crate::error::{Error, Result};
use crate::file_names::is_checkpoint;
use crate::format::header::ContainerHeader;
use crate::format::metadata::Metadata;
use crate::run_dir::catalog::subdirectories;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::other_runs::OwnCheckpoints;
use crate::run_dir::outside_directories::outside_directories;

/// What tells a file from the one that had its name before, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FileStamp {
    identity: FileIdentity,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl FileStamp {
    /// `None` if there is nothing at the path.
    pub(super) fn of(path: &Path) -> Result<Option<Self>> {
        let (Some(stat), Some(identity)) = (stat(path)?, file_identity(path)?) else { return Ok(None) };
        Ok(Some(Self { identity, bytes: stat.len(), modified: stat.modified().ok() }))
    }
}

/// The file that a path leads to when links are followed, if there is one.
pub(super) fn follow_links(path: &Path) -> Result<Option<(PathBuf, FileStamp)>> {
    let real = storage::canonicalize(path).map_err(Error::io("follow the link", path))?;
    let Some(real) = real else { return Ok(None) };
    Ok(FileStamp::of(&real)?.map(|stamp| (real, stamp)))
}

/// When a state was saved: the order of checkpoints. What cannot be read comes last.
type SaveOrder = (bool, Timestamp, u64);

#[derive(Debug)]
struct ListedCheckpoint {
    stamp: FileStamp,
    order: SaveOrder,
    /// Whether it is of this run: in a directory outside of it there can be others'.
    is_own: bool,
    /// Of one in such a directory, what tells whose it is.
    outside: Option<Box<Metadata>>,
}

/// The checkpoints of the last look.
#[derive(Debug, Default)]
pub(super) struct RunCheckpoints(HashMap<PathBuf, ListedCheckpoint>);

/// What the newest checkpoint says.
pub(super) struct NewestCheckpoint {
    pub(super) metadata: Metadata,
    pub(super) trainer_state: Value,
}

/// What is known of a run's newest checkpoint.
pub(super) enum Newest {
    Readable(Box<NewestCheckpoint>),
    /// There are checkpoints, and none can be read: the error of the newest.
    Unreadable(Error),
    /// There is none.
    Missing,
}

impl RunCheckpoints {
    /// Lists the run's directories. Reads the metadata of files that were not there at the look before. Where
    /// files have changed, and some are outside of the run's directory, looks again at whose these are.
    pub(super) fn refresh(&mut self, layout: &RunLayout) -> Result<()> {
        let (mut before, mut has_new) = (std::mem::take(&mut self.0), false);
        let own = subdirectories(&layout.checkpoint_dir())?;
        let outside = outside_directories(layout)?;
        let places = own.iter().map(|place| (place, true)).chain(outside.iter().map(|place| (place, false)));
        for (directory, is_own) in places {
            for path in list(directory)? {
                if !is_checkpoint(&path) || !entry(&path)?.is_some_and(|entry| entry.is_file()) {
                    continue;
                }
                let Some(stamp) = FileStamp::of(&path)? else { continue };
                let seen = match before.remove(&path).filter(|seen| seen.stamp == stamp) {
                    Some(seen) => seen,
                    None => {
                        has_new = true;
                        ListedCheckpoint::read(&path, stamp, is_own)
                    }
                };
                self.0.insert(path, seen);
            }
        }
        let has_changed = has_new || !before.is_empty();
        if has_changed && self.0.values().any(|seen| seen.outside.is_some()) {
            let own = OwnCheckpoints::of(layout)?;
            for (path, seen) in &mut self.0 {
                let whose = seen.outside.as_ref();
                seen.is_own = whose.map_or(seen.is_own, |metadata| own.have(parent(path), metadata));
            }
        }
        Ok(())
    }

    /// The files, in the order in which they were saved.
    pub(super) fn in_order(&self) -> Vec<(PathBuf, FileStamp)> {
        let mut own: Vec<(&PathBuf, &ListedCheckpoint)> =
            self.0.iter().filter(|(_, seen)| seen.is_own).collect();
        own.sort_by(|(path, seen), (other, than)| (seen.order, path).cmp(&(than.order, other)));
        own.into_iter().map(|(path, seen)| (path.clone(), seen.stamp.clone())).collect()
    }

    /// What the newest checkpoint says that can be read, and has not been deleted meanwhile. Opening another
    /// one reports it.
    ///
    /// # Errors
    ///
    /// When none can be read, and one of them not now.
    pub(super) fn newest(&self) -> Result<Newest> {
        let own = self.0.iter().filter(|(_, seen)| seen.is_own);
        let mut own: Vec<(&PathBuf, SaveOrder)> = own.map(|(path, seen)| (path, seen.order)).collect();
        own.sort_by_key(|(_, order)| std::cmp::Reverse(*order));
        let (mut unreadable, mut unread) = (None, None);
        for (path, _) in own {
            let read = Metadata::of_checkpoint(path).and_then(|metadata| {
                let trainer_state = ContainerHeader::read(path)?.trainer_state;
                Ok(NewestCheckpoint { metadata, trainer_state })
            });
            match read {
                Ok(newest) => return Ok(Newest::Readable(Box::new(newest))),
                Err(error) => match error.kind() {
                    ErrorKind::NotFound if stat(path)?.is_none() => {}
                    ErrorKind::Io | ErrorKind::PermissionDenied => _ = unread.get_or_insert(error),
                    _ => _ = unreadable.get_or_insert(error),
                },
            }
        }
        match unread {
            Some(error) => Err(error),
            None => Ok(unreadable.map_or(Newest::Missing, Newest::Unreadable)),
        }
    }
}

impl ListedCheckpoint {
    /// `is_inside`: in the run's own directory. Of one outside of it, the caller finds out whose it is.
    fn read(path: &Path, stamp: FileStamp, is_inside: bool) -> Self {
        match Metadata::of_checkpoint(path) {
            Ok(metadata) => {
                let order = (false, metadata.checkpoint_timestamp, metadata.global_step);
                let outside = (!is_inside).then(|| Box::new(whose(metadata)));
                Self { stamp, order, is_own: is_inside, outside }
            }
            // Opening it reports the error. A file outside of the run's directory may be another run's.
            Err(_) => Self { stamp, order: (true, Timestamp::MAX, 0), is_own: is_inside, outside: None },
        }
    }
}

/// Leaves of a checkpoint's metadata what tells whose it is.
fn whose(metadata: Metadata) -> Metadata {
    let Metadata { run_id, start_timestamp, trainer_config, checkpoint_timestamp, .. } = metadata;
    Metadata { run_id, start_timestamp, trainer_config, ..Metadata::new(checkpoint_timestamp) }
}
