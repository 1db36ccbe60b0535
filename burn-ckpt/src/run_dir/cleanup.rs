//! Tidying a run's directory: what a crash left, and what is to make room for a new run.

use std::fs;
use std::path::Path;

use crate::disk::commit::remove_checkpoint;
use crate::disk::directories::remove_if_there;
use crate::disk::links;
use crate::error::{Error, Result};
use crate::file_names::{METADATA_SUFFIX, is_checkpoint, is_staging, metadata_path};
use crate::format::metadata::Metadata;
use crate::run_dir::catalog::{Catalog, file_name, list, subdirectories};
use crate::run_dir::layout::RunLayout;

/// Tidies a run's directory before the run goes on: removes what unfinished writes and removals left, and links that
/// point nowhere. Checkpoints are never touched, nor directories outside the run's own, where another run may be
/// writing. The run's lock must be held.
///
/// # Errors
///
/// [`Error::Io`] when a directory cannot be listed or a leftover cannot be removed.
pub fn recover(layout: &RunLayout) -> Result<()> {
    let directory = layout.checkpoint_dir();
    for path in list(&directory)? {
        if is_staging(&path) {
            remove_if_there(&path)?;
        } else if path.is_symlink() && is_checkpoint(&path) && !path.exists() {
            log::warn!("the link {} points to a file that is gone; removed", path.display());
            links::remove(&path)?;
        }
    }
    for directory in subdirectories(&directory)? {
        for path in list(&directory)? {
            if is_staging(&path) || is_orphan(&path, layout.run_id()) {
                remove_if_there(&path)?;
            }
        }
        for (path, error) in Catalog::scan_directory(&directory)?.broken {
            log::warn!("{} is ignored: {error}", metadata_path(&path).display());
        }
    }
    Ok(())
}

/// Removes what a catalog lists, whole or not, each with its metadata, the links to it, and directories of the run's that
/// are empty then. Everything else stays. The run's lock must be held.
///
/// # Errors
///
/// [`Error::Io`] when something cannot be listed or removed.
pub fn clear(layout: &RunLayout, catalog: &Catalog) -> Result<()> {
    let whole = catalog.entries.iter().map(|entry| &entry.path);
    for path in whole.chain(catalog.broken.iter().map(|(path, _)| path)) {
        remove_checkpoint(path)?;
    }
    let directory = layout.checkpoint_dir();
    for path in list(&directory)? {
        if path.is_symlink() && leads_into_the_run(&path, layout.run_id()) {
            remove_if_there(&path)?;
        } else if stands_for_a_link(&path, layout.run_id()) {
            links::remove(&path)?;
        }
    }
    // What is in a directory comes after it.
    let directories = subdirectories(&directory)?;
    for directory in directories.iter().rev().chain([&directory]) {
        if directory.is_dir() && list(directory)?.is_empty() {
            fs::remove_dir(directory).map_err(Error::io("remove", directory))?;
        }
    }
    Ok(())
}

/// Whether a symbolic link that is named as one to a checkpoint, or to its metadata, leads to this run's, or nowhere.
fn leads_into_the_run(link: &Path, run_id: &str) -> bool {
    let is_metadata = file_name(link).ends_with(METADATA_SUFFIX);
    let metadata = match is_metadata {
        true => Metadata::read(link),
        false => Metadata::of_checkpoint(link),
    };
    (is_metadata || is_checkpoint(link))
        && (!link.exists() || metadata.is_ok_and(|metadata| metadata.run_id == run_id))
}

/// Whether a file is what a strategy's link is where there are no symbolic links: it has a link's name, and metadata of
/// this run that names another file.
fn stands_for_a_link(path: &Path, run_id: &str) -> bool {
    let name = file_name(path);
    let is_named_so =
        ["last.ckpt", "on_exception.ckpt"].contains(&name.as_str()) || name.starts_with("best_");
    is_named_so
        && is_checkpoint(path)
        && path.is_file()
        && !path.is_symlink()
        && Metadata::of_checkpoint(path)
            .is_ok_and(|metadata| metadata.run_id == run_id && metadata.checkpoint_path != name)
}

/// Metadata of this run whose checkpoint is gone, or never came.
fn is_orphan(path: &Path, run_id: &str) -> bool {
    let Some(checkpoint) = path.to_str().and_then(|path| path.strip_suffix(METADATA_SUFFIX)) else {
        return false;
    };
    let checkpoint = Path::new(checkpoint);
    is_checkpoint(checkpoint)
        && !path.is_symlink()
        && !checkpoint.exists()
        && Metadata::read(path).is_ok_and(|metadata| metadata.run_id == run_id)
}
