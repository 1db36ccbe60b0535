//! The files of a run, as far as they are known to be its own: checkpoints by the run's id in their metadata,
//! other files by their names in its directory, if something else shows that it is a run's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::{METRICS_FILE, is_metrics_log};
use burn_ckpt::plumbing::{
    DIRECTORIES_FILE, LaterTags, REPORT_FILE, RUN_MARKS, TAGS_FILE, check_no_other_run, clear, is_checkpoint,
    is_report_page, is_symlink, list, metadata_path, outside_directories, remove_unfinished, storage,
    tracker_files, unfinished_files,
};
use burn_ckpt::{Catalog, Error, Metadata, RunLayout};

use crate::parallel_verify::{identity, size_of};
use crate::verb_result::Failure;

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
    /// Checkpoints of other runs among them, and directories of other runs to which links lead. They stay.
    pub of_other_runs: Vec<PathBuf>,
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
        let (outside, mut of_other_runs) = directories_outside(layout)?;
        let mut catalog = Catalog::scan(layout)?;
        let own = own_ids(layout, &catalog);
        of_other_runs.extend(take_others(&mut catalog, &own));
        let links = links_to(&catalog, &layout.checkpoint_dir())?;
        let earlier: HashSet<String> =
            own.into_iter().chain(linked_ids(layout)?).filter(|id| id != layout.run_id()).collect();
        for directory in &outside {
            let mut found = Catalog::scan_directory(directory)?;
            // A run of the earlier id can still be there, as after a copy: what is outside is its own then.
            let others = take_others(&mut found, &HashSet::from([layout.run_id().to_owned()]));
            of_other_runs.extend(
                others.into_iter().filter(|path| run_id_of(path).is_some_and(|id| earlier.contains(&id))),
            );
            catalog.entries.append(&mut found.entries);
            catalog.broken.append(&mut found.broken);
        }
        let unfinished = unfinished_files(layout, &outside)?;
        let mut files = unfinished.clone();
        let marks = marks(layout)?;
        // A file of such a name, or a log of another program, can be anywhere.
        if catalog.is_empty() && marks.is_empty() {
            return Err(Failure::Other(format!(
                "{} is not a run's directory: nothing in it says so",
                layout.run_dir().display()
            )));
        }
        for name in RUN_MARKS.into_iter().skip(1).chain([METRICS_FILE]) {
            let path = layout.run_dir().join(name);
            // A log of metrics that a loss of power has left empty shows nothing.
            if is_regular(&path) && !marks.contains(&path) && (name != METRICS_FILE || is_log(&path)) {
                files.push(path);
            }
        }
        let page = layout.run_dir().join(REPORT_FILE);
        if is_report_page(&page)? {
            files.push(page);
        }
        for split in SPLITS {
            files.extend(metric_files(&layout.run_dir().join(split))?);
        }
        files.extend(tracker_files(layout.run_dir())?);
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
        Ok(Self { checkpoints, files, bytes, of_other_runs, catalog, unfinished, links })
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

/// The directories outside of a run's own that are not another run's, and those that are: that run's lock is
/// not held, so nothing in them is looked at.
fn directories_outside(layout: &RunLayout) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let (mut outside, mut others) = (Vec::new(), Vec::new());
    for directory in outside_directories(layout)? {
        match check_no_other_run(layout, &directory) {
            Ok(()) => outside.push(directory),
            Err(Error::OtherRun { .. }) => others.push(directory),
            Err(error) => return Err(error),
        }
    }
    Ok((outside, others))
}

/// The ids by which a checkpoint in the run's directory is the run's: its own, or if none has that, as after
/// the directory was renamed or copied, that of the newest.
fn own_ids(layout: &RunLayout, catalog: &Catalog) -> HashSet<String> {
    let mut ids = HashSet::from([layout.run_id().to_owned()]);
    if !catalog.entries.iter().any(|entry| ids.contains(&entry.metadata.run_id)) {
        ids.extend(catalog.entries.last().map(|newest| newest.metadata.run_id.clone()));
    }
    ids
}

/// The ids of the runs whose checkpoints a run's links lead to.
fn linked_ids(layout: &RunLayout) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    for path in list(&layout.checkpoint_dir())?.into_iter().filter(|path| is_checkpoint(path)) {
        if is_symlink(&path)? {
            ids.extend(run_id_of(&path));
        }
    }
    Ok(ids)
}

/// Takes from a catalog what does not have one of these ids. Returns the checkpoints of other runs: a file
/// without an id is another program's.
fn take_others(catalog: &mut Catalog, ids: &HashSet<String>) -> Vec<PathBuf> {
    let mut others = Vec::new();
    catalog.entries.retain(|entry| {
        let is_own = ids.contains(&entry.metadata.run_id);
        if !is_own {
            others.push(entry.path.clone());
        }
        is_own
    });
    catalog.broken.retain(|(path, _)| {
        let id = run_id_of(path);
        let is_own = id.as_ref().is_some_and(|id| ids.contains(id));
        if id.is_some() && !is_own {
            others.push(path.clone());
        }
        is_own
    });
    others
}

/// The files that only a run has: the directories that it has saved to, which were read already; its tags;
/// and its log of metrics.
fn marks(layout: &RunLayout) -> Result<Vec<PathBuf>, Error> {
    let [directories, tags, metrics] =
        [DIRECTORIES_FILE, TAGS_FILE, METRICS_FILE].map(|name| layout.run_dir().join(name));
    let mut marks = Vec::new();
    marks.extend(Some(directories).filter(|path| is_regular(path)));
    if LaterTags::are_there(layout.run_dir())? {
        marks.push(tags);
    }
    marks.extend(Some(metrics).filter(|path| is_regular(path) && is_log(path) && has_text(path)));
    Ok(marks)
}

/// The run that saved a checkpoint, as far as its metadata says it.
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

/// Whether a file begins with something: a log of metrics does not after a loss of power.
fn has_text(path: &Path) -> bool {
    let mut first = [0];
    let read = storage::StoredFile::open(path).and_then(|file| file.read_at(&mut first, 0));
    read.is_ok_and(|read| read > 0 && first[0] != 0)
}

fn is_own_directory(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { action: "find out what is at", path: path.to_path_buf(), source };
    Ok(storage::entry(path).map_err(failed)?.is_some_and(|entry| entry.is_dir()))
}
