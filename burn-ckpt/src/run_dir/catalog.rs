//! What is in a run's directory: its checkpoints in the order in which they were saved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file_names::is_checkpoint;
use crate::format::metadata::{Metadata, check_size};
use crate::run_dir::layout::RunLayout;

/// A checkpoint in a run's directory that has its metadata and the size that the metadata states.
#[derive(Debug, Clone)]
pub struct CatalogEntry {
    /// The checkpoint file.
    pub path: PathBuf,
    /// Its metadata.
    pub metadata: Metadata,
}

/// The checkpoints of a run, oldest first, and the files that look like one and are not.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The usable checkpoints in the order in which they were saved.
    pub entries: Vec<CatalogEntry>,
    /// Files named like a checkpoint whose metadata is missing or disagrees, with what is wrong.
    pub broken: Vec<(PathBuf, Error)>,
}

impl Catalog {
    /// Looks through the directories of a run's strategies. No checkpoint is opened; sizes are compared,
    /// digests are not.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a directory cannot be listed. A missing one is an empty one.
    pub fn scan(layout: &RunLayout) -> Result<Self> {
        let mut catalog = Self::default();
        for directory in subdirectories(&layout.checkpoint_dir())? {
            catalog.add_directory(&directory)?;
        }
        catalog.sort();
        Ok(catalog)
    }

    /// Looks through one directory.
    ///
    /// # Errors
    ///
    /// As for [`Catalog::scan`].
    pub fn scan_directory(directory: &Path) -> Result<Self> {
        let mut catalog = Self::default();
        catalog.add_directory(directory)?;
        catalog.sort();
        Ok(catalog)
    }

    /// Whether the run has no file that looks like a checkpoint, whole or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.broken.is_empty()
    }

    fn add_directory(&mut self, directory: &Path) -> Result<()> {
        for path in list(directory)? {
            // Links are names for files that are listed themselves.
            if !is_checkpoint(&path) || path.is_symlink() || path.is_dir() {
                continue;
            }
            match Metadata::of_checkpoint(&path).and_then(|metadata| {
                check_size(&path, &metadata)?;
                Ok(metadata)
            }) {
                Ok(metadata) => self.entries.push(CatalogEntry { path, metadata }),
                Err(error) => self.broken.push((path, error)),
            }
        }
        Ok(())
    }

    /// Puts the usable checkpoints in the order in which they were saved.
    pub fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let key =
                |entry: &CatalogEntry| (entry.metadata.checkpoint_timestamp, entry.metadata.global_step);
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
    }
}

/// The directories below a directory, however deep; links are not followed.
pub(crate) fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for path in list(&directory)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
            found.push(path.clone());
            open.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The entries of a directory, sorted by name; none where there is no such directory.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Error::io("list", directory))?.path());
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
