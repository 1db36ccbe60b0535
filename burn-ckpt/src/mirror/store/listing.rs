//! What objects a store has: all below a name, or only the first parts of their names.

use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path as ObjectPath;
use object_store::{ListResult, ObjectMeta};

use crate::error::mirror_failure::{MirrorFailure, WrongMirror};
use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::mirror::object_names::LEASE_NAME;
use crate::mirror::store::connection::Store;
use crate::run_dir::layout::CHECKPOINT_DIR;

/// The most objects of one listing.
const MAX_OBJECTS: usize = 1_000_000;
/// Those of one answer.
const PAGE_OBJECTS: usize = 1_000;

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name below the address.
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
}

impl Store {
    /// The ids of the runs that are mirrored there. Other directories can be among them.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when the store cannot be listed.
    pub fn runs(&self) -> Result<Vec<String>> {
        Ok(directories(&self.list_directory("")?).map(str::to_owned).collect())
    }

    /// Whether a directory is a run's: who writes to it is there, or its checkpoints are. Lists what is
    /// directly in it alone, and what is directly in a directory `checkpoint`.
    #[doc(hidden)]
    pub fn is_run(&self, name: &str) -> Result<bool> {
        let found = self.list_directory(name)?;
        if has_lease(&found) {
            return Ok(true);
        }
        if !has_checkpoints(&found) {
            return Ok(false);
        }
        // A directory of runs can have a run of that id.
        let below = self.list_directory(&format!("{name}/{CHECKPOINT_DIR}"))?;
        Ok(!has_lease(&below) && !has_checkpoints(&below))
    }

    /// The names of the objects that are directly in a directory.
    pub(crate) fn names_in(&self, directory: &str) -> Result<Vec<String>> {
        let found = self.list_directory(directory.trim_end_matches('/'))?;
        let names = found.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// Fails where the address itself is that of a run: what is sent there would be a run within a run.
    ///
    /// # Errors
    ///
    /// [`Error::WrongMirror`]; [`Error::Mirror`] when the store cannot be listed.
    #[doc(hidden)]
    pub fn check_is_not_a_run(&self) -> Result<()> {
        let Ok((mirror, _)) = self.address().split_last() else { return Ok(()) };
        let has = |found: &ListResult, is: fn(&str) -> bool| {
            found.objects.iter().filter_map(|object| object.location.filename()).any(is)
        };
        let found = self.list_directory("")?;
        let is_run = has_lease(&found)
            // A run can have this id: only checkpoints have links in it.
            || has_checkpoints(&found)
                && has(&self.list_directory(CHECKPOINT_DIR)?, |name| name.ends_with(CHECKPOINT_SUFFIX));
        match is_run {
            true => {
                let (address, mirror) = (self.address().to_string(), mirror.to_string());
                Err(Error::WrongMirror(WrongMirror::IsRun { address, mirror }))
            }
            false => Ok(()),
        }
    }

    /// All objects below a name.
    pub(crate) fn list(&self, below: &str) -> Result<Vec<Listed>> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(below)?);
        // A page at a time: a long listing is not a wait.
        let mut pages = objects.list(Some(&path)).try_ready_chunks(PAGE_OBJECTS);
        let mut listed: Vec<ObjectMeta> = Vec::new();
        while listed.len() <= MAX_OBJECTS {
            let page = self.run(0, async { pages.try_next().await.map_err(|failed| failed.1) });
            match page.map_err(|cause| self.failed("list", below, &cause))? {
                Some(page) => listed.extend(page),
                None => break,
            }
        }
        if listed.len() > MAX_OBJECTS {
            let reason = format!("there are more than {MAX_OBJECTS} objects: name another prefix");
            return Err(self.failure("list", below, MirrorFailure::Unsupported, reason));
        }
        let mut listed: Vec<Listed> = listed.iter().filter_map(|meta| self.listed(meta)).collect();
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(listed)
    }

    /// What is directly in a directory.
    fn list_directory(&self, name: &str) -> Result<ListResult> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(name)?);
        let listed = self.run(0, async move { objects.list_with_delimiter(Some(&path)).await });
        listed.map_err(|cause| self.failed("list", name, &cause))
    }

    fn listed(&self, meta: &ObjectMeta) -> Option<Listed> {
        let prefix = self.prefix().as_ref();
        let key = match prefix.is_empty() {
            true => meta.location.as_ref(),
            false => meta.location.as_ref().strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let modified = Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or_default();
        Some(Listed { key: key.to_owned(), size: meta.size, modified })
    }
}

fn has_lease(found: &ListResult) -> bool {
    found.objects.iter().any(|object| object.location.filename() == Some(LEASE_NAME))
}

fn has_checkpoints(found: &ListResult) -> bool {
    directories(found).any(|directory| directory == CHECKPOINT_DIR)
}

/// The names of the directories of a listing.
fn directories(listed: &ListResult) -> impl Iterator<Item = &str> {
    listed.common_prefixes.iter().filter_map(ObjectPath::filename)
}
