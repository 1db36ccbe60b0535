//! `best_<metric>.ckpt` and `last.ckpt`: relative links beside the strategies' directories, replaced
//! atomically.
//!
//! Where the system has no symbolic links, a hard link is made instead, and where that fails too, a copy.
//! These would not find the shards of a checkpoint of several files, so such a checkpoint then has no link.

use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::directories::{is_directory, parent, real_path, remove_if_there};
use crate::disk::staged_file::{Existing, Staged};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::{StagingOwner, checkpoint_of_metadata, metadata_path, shards_directory};

/// Makes `link` and its metadata link point to `checkpoint` and its metadata file. That is durable once the
/// link's directory is synced, which the caller does for all links together.
///
/// The two links are moved one after the other. No reader depends on both: a checkpoint is opened by the path
/// that its link leads to, and has its metadata in itself.
///
/// # Errors
///
/// [`Error::Io`] when neither a symbolic link nor a hard link nor a copy can be made.
pub(crate) fn point(link: &Path, checkpoint: &Path) -> Result<()> {
    // The metadata's link first, in the same order as the files themselves.
    replace(&metadata_path(link), &metadata_path(checkpoint))?;
    replace(link, checkpoint)
}

/// Removes a link and its metadata link.
///
/// # Errors
///
/// [`Error::Io`] when one of them cannot be removed. A missing one is not an error.
pub fn remove(link: &Path) -> Result<()> {
    remove_if_there(link)?;
    remove_if_there(&metadata_path(link))
}

fn replace(link: &Path, target: &Path) -> Result<()> {
    let relative = relative_to_parent(link, target)?;
    if storage::read_link(link).map_err(Error::io("read the link", link))?.as_ref() == Some(&relative) {
        return Ok(());
    }
    match Staged::symlink(&relative, link, &StagingOwner::default())? {
        Some(staged) => staged.publish(Existing::Replace),
        None => hard_link_or_copy(link, target),
    }
}

/// Puts a file in the place of a link where there are no symbolic links.
fn hard_link_or_copy(link: &Path, target: &Path) -> Result<()> {
    let checkpoint = checkpoint_of_metadata(target);
    if is_directory(&shards_directory(checkpoint.as_deref().unwrap_or(target)))? {
        static IS_REPORTED: AtomicBool = AtomicBool::new(false);
        if !IS_REPORTED.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{} is left out, as the file system has no symbolic links, and a copy does not find the shards of a checkpoint of \
                 several files: name the run's best or last, which are found without it",
                link.display()
            );
        }
        // One to an older checkpoint.
        return remove_if_there(link);
    }
    Staged::link_or_copy(target, link, &StagingOwner::default())?.publish(Existing::Replace)
}

/// The relative path from a link's directory to a file. Both directories are resolved first, so that no part
/// of the path is a link itself.
fn relative_to_parent(link: &Path, target: &Path) -> Result<PathBuf> {
    let (from, to) =
        (real_path(parent(link))?, real_path(parent(target))?.join(target.file_name().unwrap_or_default()));
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // Two drives share nothing: no relative path leads from one to the other. The result is then the absolute
    // path `to`.
    let up =
        from[shared..].iter().take(if shared == 0 { 0 } else { usize::MAX }).map(|_| Component::ParentDir);
    Ok(up.chain(to[shared..].iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_path_to_a_checkpoint_is_relative_also_through_linked_directories() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        for directory in ["real/deep/checkpoint/last", "elsewhere"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        storage::symlink(&top.join("real/deep"), &top.join("linked")).unwrap();
        let path = |link: &str, target: &str| relative_to_parent(&top.join(link), &top.join(target)).unwrap();
        let own = path("linked/checkpoint/last.ckpt", "linked/checkpoint/last/a.ckpt");
        let other = path("linked/checkpoint/last.ckpt", "elsewhere/a.ckpt");
        assert_eq!(own, Path::new("last/a.ckpt"));
        assert_eq!(other, Path::new("../../../elsewhere/a.ckpt"));
    }
}
