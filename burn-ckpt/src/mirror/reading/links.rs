//! The links of a run in a mirror: small objects, each of which names a checkpoint.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk::directories::{entry, is_directory, is_there, sync_directory};
use crate::disk::links::point;
use crate::disk::staged_file::Existing;
use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::format::container::bounded_json::parse;
use crate::mirror::object_names::{check_relative, link, link_of_key};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::Store;
use crate::run_dir::layout::RunLayout;

pub(crate) const LINK_FORMAT: &str = "burn-ckpt mirror link";
const MAX_LINK_BYTES: u64 = 16 * 1024;
const MAX_LINK_VALUES: usize = 100;

/// What the object of a link has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkObject {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) target: String,
}

impl MirroredRun {
    /// The names of the links: `last.ckpt`.
    #[must_use]
    pub fn links(&self) -> Vec<&str> {
        self.objects.keys().filter_map(|key| link_of_key(&self.run_id, key)).collect()
    }

    /// The checkpoint that a link names. `None` if there is no such link, or what is there is not one.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when it cannot be read.
    pub fn link_target(&self, name: &str) -> Result<Option<String>> {
        if_readable(read_link(&self.store, &self.run_id, name))
    }

    /// Makes the links of the run on disk, of those whose checkpoint is there. `existing` says whether a link
    /// of that name is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when one cannot be made; [`Error::Mirror`] when one cannot be read.
    #[doc(hidden)]
    pub fn download_links(&self, run: &RunLayout, existing: Existing) -> Result<()> {
        let directory = run.checkpoint_dir();
        for name in self.links() {
            let place = directory.join(name);
            if existing == Existing::Keep && entry(&place)?.is_some() {
                continue;
            }
            let Some(target) = self.link_target(name)? else { continue };
            let checkpoint = directory.join(target);
            if is_there(&checkpoint)? {
                point(&place, &checkpoint)?;
            }
        }
        if is_directory(&directory)? { sync_directory(&directory) } else { Ok(()) }
    }

    /// The names of the links that are not in the format of one, each with the error.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when one cannot be read.
    pub fn broken_links(&self) -> Result<Vec<(String, Error)>> {
        let mut broken = Vec::new();
        for name in self.links() {
            match read_link(&self.store, &self.run_id, name) {
                Ok(_) => {}
                Err(error @ Error::Mirror { .. }) => return Err(error),
                Err(error) => broken.push((name.to_owned(), error)),
            }
        }
        Ok(broken)
    }
}

/// The link that a name of an address stands for: `last`, `best_val_loss`, and `best` where there is one such
/// link. `None` if there is none. Of the run, at most the names directly in its `checkpoint` directory are
/// listed.
pub(super) fn link_of_name(store: &Store, run_id: &str, name: &str) -> Result<Option<String>> {
    let stem = name.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(name);
    if stem != "best" {
        return Ok(Some(format!("{stem}{CHECKPOINT_SUFFIX}")));
    }
    let there = store.names_in(&link(run_id, ""))?;
    let mut best =
        there.into_iter().filter(|name| name.starts_with("best_") && name.ends_with(CHECKPOINT_SUFFIX));
    Ok(best.next().filter(|_| best.next().is_none()))
}

/// The checkpoint that a link of a run names. `None` where there is no such link, or it leads nowhere; what
/// is not a link counts as none.
pub(super) fn target(store: &Store, run_id: &str, name: &str) -> Result<Option<String>> {
    if_readable(read_link(store, run_id, name))
}

fn if_readable(read: Result<Option<String>>) -> Result<Option<String>> {
    match read {
        Err(error @ Error::Mirror { .. }) => Err(error),
        read => Ok(read.ok().flatten()),
    }
}

/// # Errors
///
/// [`Error::Damaged`] for what is not a link, [`Error::Mirror`] when it cannot be read.
fn read_link(store: &Store, run_id: &str, name: &str) -> Result<Option<String>> {
    let key = link(run_id, name);
    let Some((json, _)) = store.get(&key, MAX_LINK_BYTES)? else { return Ok(None) };
    let path = PathBuf::from(store.shown(&key));
    let damaged = |reason: String| Error::damaged(&path, format!("it is not a link: {reason}"), None);
    let link: LinkObject = parse(&json, MAX_LINK_VALUES).map_err(|error| damaged(error.to_string()))?;
    if link.format != LINK_FORMAT {
        return Err(damaged("its format is another one".to_owned()));
    }
    if link.target.is_empty() {
        return Ok(None);
    }
    check_relative("the target of a link", &link.target).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(link.target))
}
