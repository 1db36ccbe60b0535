//! Listing a run's checkpoints in the order in which they were saved.

use std::path::{Path, PathBuf};

use crate::disk::directories::{entry, list};
use crate::error::{Error, Result};
use crate::file_names::{is_checkpoint, is_shards_directory, is_staging_directory};
use crate::format::container::open_file::OpenFile;
use crate::format::metadata::listed::MetadataParts;
use crate::format::metadata::{Metadata, check_size};
use crate::format::shards::check_shard_sizes;
use crate::run_dir::layout::RunLayout;

/// A checkpoint in a run's directory with valid metadata (its own, or of version 1 that beside it), and of
/// the size that the metadata states, with all its shards if it has any. See the example of [`Catalog`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogEntry {
    /// The checkpoint file.
    pub path: PathBuf,
    /// Its metadata.
    pub metadata: Metadata,
}

/// The checkpoints of a run, oldest first, and the files that have a checkpoint's name but are not valid.
///
/// ```
/// use burn_ckpt::{Catalog, RunLayout};
///
/// let catalog = Catalog::scan(&RunLayout::at("runs/a"))?;
/// for entry in &catalog.entries {
///     println!("{}: step {}", entry.path.display(), entry.metadata.global_step);
/// }
/// for (path, error) in &catalog.broken {
///     println!("{} is left out: {error}", path.display());
/// }
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Catalog {
    /// The valid checkpoints in the order in which they were saved.
    pub entries: Vec<CatalogEntry>,
    /// Files with a checkpoint's name whose metadata is missing, invalid, or states another size, each with
    /// the error.
    pub broken: Vec<(PathBuf, Error)>,
}

impl Catalog {
    /// Lists the checkpoints in one directory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the directory cannot be listed. A missing one counts as empty.
    pub fn scan_directory(directory: impl AsRef<Path>) -> Result<Self> {
        scan_files(directory.as_ref(), MetadataParts::All, |_| ())
    }

    /// Whether there is no file with a checkpoint's name, valid or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.broken.is_empty()
    }

    fn add_directory(
        &mut self,
        directory: &Path,
        parts: MetadataParts,
        reduce: fn(&mut Metadata),
    ) -> Result<()> {
        for path in list(directory)? {
            // The files that links point to are listed themselves.
            if !is_checkpoint(&path) || entry(&path)?.is_none_or(|entry| entry.is_symlink() || entry.is_dir())
            {
                continue;
            }
            let found = Metadata::parts_of_checkpoint(&path, parts);
            match found.and_then(|metadata| check_sizes(&path, &metadata).map(|()| metadata)) {
                Ok(mut metadata) => {
                    reduce(&mut metadata);
                    self.entries.push(CatalogEntry { path, metadata });
                }
                Err(error) => self.broken.push((path, error)),
            }
        }
        Ok(())
    }

    /// Sorts the valid checkpoints by the time at which they were saved.
    pub fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let key =
                |entry: &CatalogEntry| (entry.metadata.checkpoint_timestamp, entry.metadata.global_step);
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
    }
}

/// The checkpoints in a run's own directory, of these parts of their metadata and of what `reduce` leaves: a
/// run of a thousand checkpoints has a thousand lists of packages.
///
/// # Errors
///
/// As for [`Catalog::scan_directory`].
pub(crate) fn scan_own(
    layout: &RunLayout,
    parts: MetadataParts,
    reduce: fn(&mut Metadata),
) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for directory in subdirectories(&layout.checkpoint_dir())? {
        catalog.add_directory(&directory, parts, reduce)?;
    }
    catalog.sort();
    Ok(catalog)
}

/// As [`Catalog::scan_directory`], of these parts of the metadata and of what `reduce` leaves.
///
/// # Errors
///
/// As for [`Catalog::scan_directory`].
pub fn scan_files(directory: &Path, parts: MetadataParts, reduce: fn(&mut Metadata)) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    catalog.add_directory(directory, parts, reduce)?;
    catalog.sort();
    Ok(catalog)
}

/// Compares the sizes of a checkpoint's files with its metadata. Opens no shard.
///
/// # Errors
///
/// [`Error::Checksum`] for another size, [`Error::Damaged`] for a shard that is missing or has another size.
pub fn check_sizes(checkpoint: &Path, metadata: &Metadata) -> Result<()> {
    check_size(&OpenFile::open(checkpoint)?, metadata)?;
    check_shard_sizes(checkpoint, &metadata.shards)
}

/// All directories below a directory, at any depth, but those of shards. Links are not followed.
pub(crate) fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for path in list(&directory)? {
            // A link to a directory is not one itself.
            if !is_shards_directory(&path)
                && !is_staging_directory(&path)
                && entry(&path)?.is_some_and(|entry| entry.is_dir())
            {
                found.push(path.clone());
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The last part of a path, as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
