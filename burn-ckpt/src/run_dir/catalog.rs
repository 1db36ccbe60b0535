//! What is in a run's directory: finding checkpoints, resolving "best" and "last", tidying up after a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::commit::{remove_checkpoint, remove_if_there};
use crate::error::{Error, Result};
use crate::layout::{METADATA_SUFFIX, RunLayout, is_checkpoint, is_staging, link_name, metadata_path};
use crate::links;
use crate::metadata::Metadata;
use crate::verify::check_size;

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

/// The checkpoint that a link of a run points to: `"last"`, or `"best"` for the given metric, or, without one,
/// for the only metric that has a link.
///
/// # Errors
///
/// [`Error::NotFound`] with what there is instead.
pub fn resolve(layout: &RunLayout, wanted: &str, metric: Option<&str>) -> Result<PathBuf> {
    let directory = layout.checkpoint_dir();
    let not_found =
        |hint: String| Error::NotFound { path: directory.clone(), wanted: wanted.to_owned(), hint };
    let link = match (wanted, metric) {
        ("last", _) => directory.join(link_name("last")?),
        ("best", Some(metric)) => directory.join(link_name(&format!("best_{metric}"))?),
        ("best", None) => {
            let mut links: Vec<PathBuf> = list(&directory)?
                .into_iter()
                .filter(|path| is_checkpoint(path) && file_name(path).starts_with("best_"))
                .collect();
            match (links.pop(), links.is_empty()) {
                (Some(link), true) => link,
                (None, _) => return Err(not_found("it has no link named best_<metric>.ckpt".to_owned())),
                (Some(other), false) => {
                    links.push(other);
                    let names: Vec<String> = links.iter().map(|path| file_name(path)).collect();
                    return Err(not_found(format!("name one of {}", names.join(", "))));
                }
            }
        }
        _ => {
            return Err(not_found("the names are \"last\" and \"best\"; anything else is a path".to_owned()));
        }
    };
    match fs::metadata(&link) {
        Ok(_) => Ok(link),
        Err(_) if link.is_symlink() => {
            Err(not_found(format!("the link {} points to a file that is gone", file_name(&link))))
        }
        Err(_) => Err(not_found(format!("there is no link {}", file_name(&link)))),
    }
}

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

/// The directories below a directory, however deep; links are not followed.
fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
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
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
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

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
