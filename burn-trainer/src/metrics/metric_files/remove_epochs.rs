//! Removes the metric files of epochs that are trained again: those that burn's layout has, and nothing else
//! in these directories.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use burn::train::metric::store::Split;
use burn_ckpt::plumbing::{list, storage};
use burn_ckpt::{Error, Result};

use super::epoch_file::{EPOCH_PREFIX, METRIC_SUFFIX, VALIDATIONS};
use crate::process::console::note;

/// Removes the metric files of a split's epochs from this one on (burn's number), and the directories that
/// are empty then. Nothing is removed through a link.
///
/// # Errors
///
/// [`Error::Io`] for a directory that cannot be listed, or a file that cannot be removed.
pub(crate) fn remove_metric_files(run_dir: &Path, split: &Split, first: usize) -> Result<()> {
    let directory = run_dir.join(split.to_string());
    if !is_own_directory(&directory)? {
        return Ok(());
    }
    for epoch in list(&directory)? {
        if epoch_of(&epoch).is_none_or(|epoch| epoch < first) || !is_own_directory(&epoch)? {
            continue;
        }
        for file in list(&epoch)? {
            if is_metric_file(&file)? {
                storage::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        remove_if_empty(&epoch)?;
    }
    remove_if_empty(&directory)
}

/// The epoch of a directory of metric files.
fn epoch_of(directory: &Path) -> Option<usize> {
    let number = directory.file_name()?.to_str()?.strip_prefix(EPOCH_PREFIX)?;
    number.parse().ok().filter(|epoch: &usize| epoch.to_string() == number)
}

fn is_metric_file(path: &Path) -> Result<bool> {
    let is_ours = |name: &str| name.ends_with(METRIC_SUFFIX) || name == VALIDATIONS;
    let is_named = path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy()));
    Ok(is_named && entry(path)?.is_some_and(|present| present.is_file()))
}

fn is_own_directory(path: &Path) -> Result<bool> {
    let present = entry(path)?;
    if present.as_ref().is_some_and(Metadata::is_symlink) {
        note(&format!("{} is a link: the metric files behind it stay", path.display()));
    }
    Ok(present.is_some_and(|present| present.is_dir()))
}

fn entry(path: &Path) -> Result<Option<Metadata>> {
    storage::entry(path).map_err(Error::io("read", path))
}

fn remove_if_empty(directory: &Path) -> Result<()> {
    match storage::remove_directory(directory) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(Error::io("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::tempdir;

    #[test]
    fn only_the_files_of_later_epochs_are_removed() {
        let root = tempdir().unwrap();
        let names = ["epoch-1", "epoch-2", "epoch-3", "epoch-10", "epoch-03", "epoch-x", "other"];
        for name in names {
            let directory = root.path().join("train").join(name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("Loss.log"), "1\n").unwrap();
        }
        remove_metric_files(root.path(), &Split::Train, 3).unwrap();
        let left: Vec<_> =
            names.into_iter().filter(|name| root.path().join("train").join(name).exists()).collect();
        assert_eq!(left, ["epoch-1", "epoch-2", "epoch-03", "epoch-x", "other"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_burn_does_not_make_stays_and_so_does_what_is_behind_a_link() {
        use std::os::unix::fs::symlink;
        let (root, other) = (tempdir().unwrap(), tempdir().unwrap());
        let epoch = root.path().join("train/epoch-1");
        fs::create_dir_all(epoch.join("deeper")).unwrap();
        fs::create_dir_all(other.path().join("epoch-1")).unwrap();
        for file in ["Loss.log", "notes.txt", "deeper/Loss.log"] {
            fs::write(epoch.join(file), "mine").unwrap();
        }
        fs::write(other.path().join("epoch-1/Loss.log"), "mine").unwrap();
        symlink(other.path().join("epoch-1/Loss.log"), epoch.join("Accuracy.log")).unwrap();
        symlink(other.path().join("epoch-1"), root.path().join("train/epoch-2")).unwrap();
        symlink(other.path(), root.path().join("valid")).unwrap();
        for split in [Split::Train, Split::Valid] {
            remove_metric_files(root.path(), &split, 0).unwrap();
        }
        let mut left: Vec<_> =
            list(&epoch).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["Accuracy.log", "deeper", "notes.txt"]);
        assert!(other.path().join("epoch-1/Loss.log").exists() && epoch.join("deeper/Loss.log").exists());
        fs::remove_dir_all(&epoch).unwrap();
        fs::create_dir(&epoch).unwrap();
        fs::remove_file(root.path().join("train/epoch-2")).unwrap();
        remove_metric_files(root.path(), &Split::Train, 0).unwrap();
        assert!(!root.path().join("train").exists(), "empty directories are removed");
    }
}
