//! `best_<metric>.ckpt` and `last.ckpt`: relative links beside the strategies' directories, replaced atomically.
//!
//! Where the system has no symbolic links, a hard link is made instead, and where that fails too, a copy.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::disk::directories::{remove_if_there, sync_directory_of};
use crate::disk::staged_file::{Existing, Staged};
use crate::error::{Error, Result};
use crate::file_names::metadata_path;

/// Makes `link` and its metadata link point to `checkpoint` and its metadata file.
///
/// # Errors
///
/// [`Error::Io`] when neither a symbolic link nor a hard link nor a copy can be made. The link is unchanged then.
pub(crate) fn point(link: &Path, checkpoint: &Path) -> Result<()> {
    // The metadata's link first, in the same order as the files themselves.
    replace(&metadata_path(link), &metadata_path(checkpoint))?;
    replace(link, checkpoint)?;
    sync_directory_of(link)
}

/// Removes a link and its metadata link.
pub(crate) fn remove(link: &Path) -> Result<()> {
    remove_if_there(link)?;
    remove_if_there(&metadata_path(link))
}

fn replace(link: &Path, target: &Path) -> Result<()> {
    let relative = relative_to_parent(link, target)?;
    if fs::read_link(link).is_ok_and(|present| present == relative) {
        return Ok(());
    }
    let staged = Staged::beside(link);
    if symlink(&relative, staged.path()).is_err() && fs::hard_link(target, staged.path()).is_err() {
        fs::copy(target, staged.path()).map_err(Error::io("make a link or a copy at", link))?;
        staged.sync()?;
    }
    // A rename onto a hard link of the same file does nothing and leaves the staging name, which is removed here.
    let leftover = staged.path().to_path_buf();
    staged.publish(Existing::Replace)?;
    remove_if_there(&leftover)
}

/// The relative path from a link's directory to a file. Both directories are resolved first, so that no part of the path
/// is a link itself.
fn relative_to_parent(link: &Path, target: &Path) -> Result<PathBuf> {
    let real = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::canonicalize(parent).map_err(Error::io("resolve", parent))
    };
    let (from, to) = (real(link)?, real(target)?.join(target.file_name().unwrap_or_default()));
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // Two drives share nothing: no relative path leads from one to the other. The result is then the absolute path `to`.
    let up =
        from[shared..].iter().take(if shared == 0 { 0 } else { usize::MAX }).map(|_| Component::ParentDir);
    Ok(up.chain(to[shared..].iter().copied()).collect())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_to_a_checkpoint_is_relative_also_through_linked_directories() {
        let top = std::env::temp_dir().join(format!("burn-ckpt-links-{}", std::process::id()));
        for directory in ["real/deep/checkpoint/last", "elsewhere"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        symlink(&top.join("real/deep"), &top.join("linked")).unwrap();
        let path = |link: &str, target: &str| relative_to_parent(&top.join(link), &top.join(target)).unwrap();
        let own = path("linked/checkpoint/last.ckpt", "linked/checkpoint/last/a.ckpt");
        let other = path("linked/checkpoint/last.ckpt", "elsewhere/a.ckpt");
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(own, Path::new("last/a.ckpt"));
        assert_eq!(other, Path::new("../../../elsewhere/a.ckpt"));
    }
}
