//! The files of a run, as far as they are known to be its own: by their names in its directory, and by its id
//! outside of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::{METRICS_FILE, is_metrics_log};
use burn_ckpt::plumbing::{
    DIRECTORIES_FILE, RUN_MARKS, TAGS_FILE, clear, is_symlink, list, metadata_path, outside_directories,
    remove_unfinished, storage, unfinished_files,
};
use burn_ckpt::{Catalog, Error, Metadata, RunLayout};

use crate::answer::Failure;
use crate::checking::{identity, size_of};

/// The directories of burn's metric files, and how their names and those in them begin and end.
const SPLITS: [&str; 2] = ["train", "valid"];
const EPOCH_PREFIX: &str = "epoch-";
const METRIC_SUFFIX: &str = ".log";
const VALIDATIONS: &str = "validations.jsonl";

/// What is removed with a run.
pub struct OwnFiles {
    /// Whole ones, and those of which the metadata says that they are the run's.
    pub checkpoints: Vec<PathBuf>,
    /// Unfinished files, metric files, and what says what the run was.
    pub files: Vec<PathBuf>,
    /// Of all of them, a file of two names once.
    pub bytes: u64,
    catalog: Catalog,
    unfinished: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl OwnFiles {
    /// Finds them. Nothing is changed.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, and when nothing shows that this is a run of burn-trainer's.
    pub fn of(layout: &RunLayout) -> Result<Self, Failure> {
        let outside = outside_directories(layout)?;
        let mut catalog = Catalog::scan(layout)?;
        // Behind a link, and outside, a checkpoint is the run's if its metadata says so. A file of another
        // program can end in .ckpt. A run whose directory was renamed or copied has the id of before in its
        // checkpoints.
        let ids = catalog.entries.iter().map(|entry| entry.metadata.run_id.clone());
        let ids: HashSet<String> = ids.chain([layout.run_id().to_owned()]).collect();
        catalog.broken.retain(|(path, _)| run_id_of(path).is_some_and(|id| ids.contains(&id)));
        let links = links_to(&catalog, &layout.checkpoint_dir())?;
        for directory in &outside {
            let found = Catalog::scan_directory(directory)?;
            catalog
                .entries
                .extend(found.entries.into_iter().filter(|entry| entry.metadata.run_id == layout.run_id()));
            catalog.broken.extend(
                found
                    .broken
                    .into_iter()
                    .filter(|(path, _)| run_id_of(path).as_deref() == Some(layout.run_id())),
            );
        }
        let unfinished = unfinished_files(layout, &outside)?;
        let mut files = unfinished.clone();
        let mut marks = Vec::new();
        for name in RUN_MARKS.into_iter().skip(1).chain([DIRECTORIES_FILE, TAGS_FILE]) {
            marks.extend(Some(layout.run_dir().join(name)).filter(|path| is_regular(path)));
        }
        let metrics = layout.run_dir().join(METRICS_FILE);
        marks.extend(Some(metrics).filter(|path| is_regular(path) && is_log(path)));
        if catalog.is_empty() && marks.is_empty() {
            return Err(Failure::Other(format!(
                "{} is not a run's directory: nothing in it says so",
                layout.run_dir().display()
            )));
        }
        for split in SPLITS {
            files.extend(metric_files(&layout.run_dir().join(split))?);
        }
        files.extend(marks);
        let checkpoints: Vec<PathBuf> = catalog
            .entries
            .iter()
            .map(|entry| entry.path.clone())
            .chain(catalog.broken.iter().map(|(path, _)| path.clone()))
            .collect();
        let mut seen = HashSet::new();
        let bytes = checkpoints.iter().chain(&files).filter(|path| seen.insert(identity(path)));
        let bytes = bytes.map(|path| size_of(path)).fold(0, u64::saturating_add);
        Ok(Self { checkpoints, files, bytes, catalog, unfinished, links })
    }

    /// Removes them, and the directories that are empty then. The caller holds the run's lock.
    ///
    /// # Errors
    ///
    /// The first one.
    pub fn remove(&self, layout: &RunLayout) -> Result<(), Error> {
        self.unfinished.iter().try_for_each(|path| remove_unfinished(path))?;
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Io { action: "remove", path, source }
        };
        for link in &self.links {
            storage::remove_file(link).map_err(failed(link))?;
        }
        clear(layout, &self.catalog)?;
        for path in self.files.iter().filter(|path| !self.unfinished.contains(path)) {
            storage::remove_file(path).map_err(failed(path))?;
        }
        for split in SPLITS {
            let split = layout.run_dir().join(split);
            let epochs = if is_own_directory(&split)? { list(&split)? } else { Vec::new() };
            for directory in epochs.iter().filter(|path| is_epoch(path)).chain([&split]) {
                if is_own_directory(directory)? && list(directory)?.is_empty() {
                    storage::remove_directory(directory).map_err(failed(directory))?;
                }
            }
        }
        Ok(())
    }
}

/// The run that saved a checkpoint which is not whole, as far as its metadata says it.
fn run_id_of(path: &Path) -> Option<String> {
    Metadata::of_checkpoint(path).ok().map(|metadata| metadata.run_id)
}

/// The links in a directory that lead to one of these checkpoints, or to its metadata.
fn links_to(catalog: &Catalog, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let resolved = |path: &Path| {
        let failed = |source| Error::Io { action: "resolve", path: path.to_path_buf(), source };
        storage::canonicalize(path).map_err(failed)
    };
    let paths = catalog.entries.iter().map(|entry| &entry.path);
    let mut targets = HashSet::new();
    for path in paths.chain(catalog.broken.iter().map(|(path, _)| path)) {
        targets.extend(resolved(path)?);
        targets.extend(resolved(&metadata_path(path))?);
    }
    let mut links = Vec::new();
    for path in list(directory)? {
        if is_symlink(&path)? && resolved(&path)?.is_some_and(|target| targets.contains(&target)) {
            links.push(path);
        }
    }
    Ok(links)
}

/// burn's metric files of a split: no others in these directories, and nothing behind a link.
fn metric_files(split: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    if !is_own_directory(split)? {
        return Ok(files);
    }
    for epoch in list(split)?.into_iter().filter(|path| is_epoch(path)) {
        if is_own_directory(&epoch)? {
            files.extend(list(&epoch)?.into_iter().filter(|path| is_metric_file(path)));
        }
    }
    Ok(files)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_epoch(path: &Path) -> bool {
    let number = name(path).strip_prefix(EPOCH_PREFIX);
    number.is_some_and(|number| number.parse::<u64>().is_ok_and(|epoch| epoch.to_string() == number))
}

fn is_metric_file(path: &Path) -> bool {
    (name(path).ends_with(METRIC_SUFFIX) || name(path) == VALIDATIONS) && is_regular(path)
}

/// Whether there is a regular file, and no link.
fn is_regular(path: &Path) -> bool {
    storage::entry(path).is_ok_and(|entry| entry.is_some_and(|entry| entry.is_file()))
}

/// Whether a file is a run's log of metrics, and not a user's of the same name.
fn is_log(path: &Path) -> bool {
    storage::StoredFile::open(path).and_then(|file| is_metrics_log(&file)).unwrap_or(false)
}

fn is_own_directory(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { action: "find out what is at", path: path.to_path_buf(), source };
    Ok(storage::entry(path).map_err(failed)?.is_some_and(|entry| entry.is_dir()))
}
