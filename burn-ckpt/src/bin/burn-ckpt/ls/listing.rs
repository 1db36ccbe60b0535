//! The checkpoints in a directory, with the links to them: those of a run, of several runs, or files outside
//! of a run.

use std::fs::Metadata as Stat;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{
    CHECKPOINT_DIR, CHECKPOINT_SUFFIX, LaterTags, LinkReplacement, METADATA_SUFFIX, MetadataParts,
    add_outside, check_sizes, entry, is_checkpoint, is_directory, is_shards_directory, is_staging_directory,
    is_symlink, is_there, list_existing, outside_directories, real_path_if_there, scan_files, stat, storage,
    unfinished_files,
};
use burn_ckpt::{Catalog, Error, Metadata, RunLayout};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::parallel_verify::size_of;

/// The checkpoints of one run, or of a directory that is not a run's, oldest first.
#[derive(Debug)]
pub struct Listing {
    /// The run's id, or the directory's name.
    pub name: String,
    /// The directory of the links. Files are shown relative to it.
    pub directory: PathBuf,
    pub rows: Vec<Row>,
    /// What was changed of the run's tags since it was trained.
    pub tags: LaterTags,
    pub dangling: Vec<Dangling>,
    /// Unfinished files, with their sizes: what killed processes left, or a process writes at the moment.
    pub unfinished: Vec<(PathBuf, u64)>,
    /// What of it cannot be read.
    pub unreadable: Vec<Error>,
}

/// A file with a checkpoint's name.
#[derive(Debug)]
pub struct Row {
    pub path: PathBuf,
    /// The metadata if it can be read, even if the file is not complete. It has no environment, tensors,
    /// modules and starts.
    pub metadata: Option<Metadata>,
    /// Why the file is not complete, as far as its size and metadata show.
    pub problem: Option<Error>,
    /// The names of the links that point to the file, without ending.
    pub links: Vec<String>,
    /// The size of its file, or of all its files.
    pub bytes: u64,
    saved: Timestamp,
}

/// Leaves out the tensors, which are compared and not listed.
fn reduce(metadata: &mut Metadata) {
    metadata.tensors = IndexMap::new();
}

/// A link to a missing file.
#[derive(Debug)]
pub struct Dangling {
    pub path: PathBuf,
    pub target: PathBuf,
}

impl Listing {
    /// The checkpoints of a run. A directory of it that cannot be read is among the errors.
    pub fn of_run(run: &RunLayout) -> Result<Self, Error> {
        let directory = run.checkpoint_dir();
        let (mut catalog, mut unreadable) = readable(&directory)?;
        // Which checkpoints outside are the run's, those in its own directory say.
        if unreadable.is_empty() {
            let outside = outside_directories(run);
            let added = outside.and_then(|outside| {
                add_outside(&mut catalog, run, &outside, MetadataParts::Listed, reduce, |_, _| ())
            });
            unreadable.extend(added.err());
        }
        let mut listing = Self::of_catalog(catalog, name_of(run.run_dir()), &directory);
        listing.unreadable = unreadable;
        match LaterTags::read(run.run_dir()) {
            Ok(tags) => listing.tags = tags,
            Err(error) => listing.unreadable.push(error),
        }
        listing.add_links(true)?;
        // Of a directory that cannot be read there is a line already.
        if listing.unreadable.is_empty() {
            listing.add_unfinished(run);
        }
        Ok(listing)
    }

    /// A run that cannot be read.
    pub fn without(run: &Path, error: Error) -> Self {
        let mut listing = Self::of_catalog(Catalog::default(), name_of(run), &run.join(CHECKPOINT_DIR));
        listing.unreadable.push(error);
        listing
    }

    pub fn of_directory(directory: &Path) -> Result<Self, Error> {
        let catalog = scan_files(directory, MetadataParts::Listed, reduce)?;
        let mut listing = Self::of_catalog(catalog, name_of(directory), directory);
        listing.add_links(false)?;
        Ok(listing)
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.dangling.is_empty()
    }

    pub fn has_nothing(&self) -> bool {
        self.is_empty() && self.unreadable.is_empty() && self.unfinished.is_empty()
    }

    /// A path as it is shown: relative to the directory if it is inside.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.directory).unwrap_or(path).display().to_string()
    }

    /// The unfinished files as JSON.
    pub fn unfinished_json(&self) -> Vec<Value> {
        let shown = |(path, bytes): &(PathBuf, u64)| json!({ "file": self.shown(path), "size_bytes": bytes });
        self.unfinished.iter().map(shown).collect()
    }

    fn of_catalog(catalog: Catalog, name: String, directory: &Path) -> Self {
        let whole = catalog.entries.into_iter().map(|entry| Row::new(entry.path, Ok(entry.metadata)));
        // The run may be training: what it deletes meanwhile is not damaged.
        let broken = catalog.broken.into_iter().filter(|(path, _)| is_there(path).unwrap_or(true));
        let rows = whole.chain(broken.map(|(path, error)| Row::new(path, Err(error)))).collect();
        Self {
            name,
            directory: directory.to_path_buf(),
            rows,
            tags: LaterTags::default(),
            dangling: Vec::new(),
            unfinished: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Finds the run's unfinished files, also in the directories outside of it to which its links lead, or
    /// into which it says that it has saved.
    fn add_unfinished(&mut self, run: &RunLayout) {
        let is_outside = |path: &&Path| !path.starts_with(&self.directory);
        let mut outside: Vec<PathBuf> = self
            .rows
            .iter()
            .filter_map(|row| row.path.parent())
            .filter(is_outside)
            .map(Path::to_path_buf)
            // A start fails if these cannot be read. No reader depends on them.
            .chain(outside_directories(run).unwrap_or_default())
            .collect();
        outside.sort();
        outside.dedup();
        match unfinished_files(run, &outside) {
            Ok(paths) => {
                self.unfinished = paths.into_iter().map(|path| (path.clone(), size_of(&path))).collect();
            }
            Err(error) => self.unreadable.push(error),
        }
    }

    /// Finds the links in the directory, and the files that they point to.
    fn add_links(&mut self, is_run: bool) -> Result<(), Error> {
        for path in list_existing(&self.directory)?.into_iter().filter(|path| is_checkpoint(path)) {
            if let Err(error) = self.add_link(path, is_run) {
                self.unreadable.push(error);
            }
        }
        self.rows.sort_by(|a, b| (a.saved, a.step(), &a.path).cmp(&(b.saved, b.step(), &b.path)));
        Ok(())
    }

    fn add_link(&mut self, path: PathBuf, is_run: bool) -> Result<(), Error> {
        if is_symlink(&path)? {
            let followed = storage::canonicalize(&path).map_err(Error::io("follow the link", &path))?;
            let Some(target) = followed else {
                let target = storage::read_link(&path).map_err(Error::io("read the link", &path))?;
                self.dangling.push(Dangling { target: target.unwrap_or_default(), path });
                return Ok(());
            };
            if is_directory(&target)? {
                return Ok(());
            }
            let mut place = None;
            for (number, row) in self.rows.iter().enumerate() {
                if real_path_if_there(&row.path)?.as_ref() == Some(&target) {
                    place = Some(number);
                    break;
                }
            }
            let place = place.unwrap_or_else(|| self.add(target));
            self.rows[place].links.push(stem(&path));
        } else if is_run && !is_directory(&path)? {
            // A file among the links: it replaces a link on a system without symbolic links, or a user put it
            // there.
            let replacement = LinkReplacement::read(&path);
            let is_target = |row: &Row| {
                let (replacement, own) = (replacement.as_ref(), row.metadata.as_ref());
                replacement.zip(own).is_some_and(|(replacement, own)| replacement.led_to(&row.path, own))
            };
            match self.rows.iter().position(is_target) {
                Some(place) => self.rows[place].links.push(stem(&path)),
                None => _ = self.add(path),
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf) -> usize {
        let mut row = Row::new(path.clone(), Metadata::listed_of_checkpoint(&path));
        if let (Some(metadata), None) = (&row.metadata, &row.problem) {
            row.problem = check_sizes(&path, metadata).err();
        }
        self.rows.push(row);
        self.rows.len() - 1
    }
}

impl Row {
    fn new(path: PathBuf, catalogued: Result<Metadata, Error>) -> Self {
        let (mut metadata, problem) = match catalogued {
            Ok(metadata) => (Some(metadata), None),
            Err(error) => (Metadata::listed_of_checkpoint(&path).ok(), Some(error)),
        };
        metadata.iter_mut().for_each(reduce);
        let (stat, unseen) = match stat(&path) {
            Ok(stat) => (stat, None),
            Err(error) => (None, Some(error)),
        };
        let problem = problem.or(unseen);
        let has_shards = metadata.as_ref().is_none_or(|metadata| !metadata.shards.is_empty());
        let bytes = if has_shards { size_of(&path) } else { stat.as_ref().map_or(0, Stat::len) };
        let written =
            || stat.and_then(|stat| stat.modified().ok()).and_then(|time| Timestamp::try_from(time).ok());
        let saved = match &metadata {
            Some(metadata) => metadata.checkpoint_timestamp,
            None => written().unwrap_or_default(),
        };
        Self { path, metadata, problem, links: Vec::new(), bytes, saved }
    }

    /// When it was saved. For a file without metadata, when it was last written.
    pub fn saved(&self) -> Timestamp {
        self.saved
    }

    fn step(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |metadata| metadata.global_step)
    }
}

/// What is wrong with a checkpoint, without its path, which is printed beside the reason. That of a shard
/// names it.
pub fn reason(error: &Error) -> String {
    let reason = match error {
        Error::Checksum { path, .. } | Error::NotACheckpoint { path, .. } | Error::Damaged { path, .. }
            if path.parent().is_some_and(is_shards_directory) =>
        {
            return chain(error);
        }
        _ if is_without_metadata(error) => return "it has no metadata".to_owned(),
        Error::Checksum { expected, found, .. } => {
            format!("its metadata says {expected}, its bytes give {found}")
        }
        Error::NotACheckpoint { reason, .. } | Error::Damaged { reason, .. } | Error::Load { reason, .. } => {
            reason.clone()
        }
        Error::Metadata { reason, .. } => format!("its metadata is invalid: {reason}"),
        error => return chain(error),
    };
    match std::error::Error::source(error) {
        Some(source) => format!("{reason}: {}", chain(source)),
        None => reason,
    }
}

/// Whether the error says that a checkpoint's metadata file is missing.
pub fn is_without_metadata(error: &Error) -> bool {
    matches!(error, Error::Io { path, source, .. }
        if source.kind() == ErrorKind::NotFound && name_of(path).ends_with(METADATA_SUFFIX))
}

/// A file's name without the ending of checkpoints.
pub fn stem(path: &Path) -> String {
    let name = name_of(path);
    name.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(&name).to_owned()
}

fn name_of(path: &Path) -> String {
    let own = path.file_name().map(ToOwned::to_owned);
    // Without a name it is `.` or the root, and the name is only shown.
    let name = own.or_else(|| Some(storage::canonicalize(path).ok()??.file_name()?.to_owned()));
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The checkpoints in all directories below a directory, and the directories that cannot be read. Links are
/// not followed.
fn readable(directory: &Path) -> Result<(Catalog, Vec<Error>), Error> {
    let (mut catalog, mut unreadable) = (Catalog::default(), Vec::new());
    let mut open = directories_of(list_existing(directory)?, &mut unreadable);
    while let Some(directory) = open.pop() {
        match list_existing(&directory)
            .and_then(|paths| Ok((paths, scan_files(&directory, MetadataParts::Listed, reduce)?)))
        {
            Ok((paths, found)) => {
                open.extend(directories_of(paths, &mut unreadable));
                catalog.entries.extend(found.entries);
                catalog.broken.extend(found.broken);
            }
            Err(error) => unreadable.push(error),
        }
    }
    catalog.sort();
    Ok((catalog, unreadable))
}

/// Those that are directories of checkpoints, and the errors of those of which that cannot be found out.
fn directories_of(paths: Vec<PathBuf>, unreadable: &mut Vec<Error>) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let has_shards = |path: &Path| is_shards_directory(path) || is_staging_directory(path);
    for path in paths {
        match entry(&path) {
            Ok(Some(entry)) if entry.is_dir() && !has_shards(&path) => directories.push(path),
            Ok(_) => {}
            Err(error) => unreadable.push(error),
        }
    }
    directories
}
