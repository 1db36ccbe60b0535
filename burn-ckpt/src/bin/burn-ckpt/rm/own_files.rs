//! The files of a run, as far as they are known to be its own: checkpoints by the run's id in their metadata,
//! other files by their names in its directory, if something else shows that it is a run's.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::METRICS_FILE;
use burn_ckpt::plumbing::{
    MetadataParts, OwnCheckpoints, REPORT_FILE, RUN_MARKS, TAGS_LOCK_FILE, check_no_other_run, clear,
    evaluation_path, files_in_place_of_links, is_checkpoint, is_report_page, is_symlink, links_of_run, list,
    metadata_path, outside_directories, real_path_if_there, remove_unfinished, scan_with, shards_directory,
    storage, tracker_files, unfinished_files,
};
use burn_ckpt::{Catalog, Error, Metadata, RunLayout};

use crate::parallel_verify::{identity, size_of};
use crate::runs::run_signs::{is_log_of_metrics, is_own_directory, is_regular, run_signs};
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
    /// Those of the run, and files in their place.
    links: Vec<PathBuf>,
    /// Those of the files that show that the directory is a run's, in the order in which they are removed.
    signs: Vec<PathBuf>,
}

impl OwnFiles {
    /// Finds them. Nothing is changed. `shows_a_run` is what was found before the run's lock was taken, which
    /// creates a file.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed, and when nothing shows that this is a run of burn-trainer's.
    pub fn of(layout: &RunLayout, shows_a_run: bool) -> Result<Self, Failure> {
        let (outside, mut of_other_runs) = directories_outside(layout)?;
        let mut catalog = scan_with(layout, &[], MetadataParts::All, |_| (), |_, _| ())?;
        let in_place = files_in_place_of_links(layout)?;
        let own = own_ids(layout, &catalog, &in_place);
        of_other_runs.extend(take_others(&mut catalog, &own));
        let is_own = |(path, metadata): (PathBuf, Metadata)| own.contains(&metadata.run_id).then_some(path);
        let in_place: Vec<PathBuf> = in_place.into_iter().filter_map(is_own).collect();
        let mut links = links_to(&catalog, &layout.checkpoint_dir())?;
        links.extend(in_place.iter().cloned());
        let earlier: HashSet<String> =
            own.into_iter().chain(linked_ids(layout)?).filter(|id| id != layout.run_id()).collect();
        let own_outside = OwnCheckpoints::of(layout)?;
        for directory in &outside {
            let mut found = Catalog::scan_directory(directory)?;
            of_other_runs.extend(take_of_same_id(&mut found, &own_outside, layout.run_id(), directory));
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
        // A file of such a name, or a log of another program, can be anywhere.
        if catalog.is_empty() && in_place.is_empty() && !shows_a_run {
            return Err(Failure::Other(format!(
                "{} is not a run's directory: nothing in it says so",
                layout.run_dir().display()
            )));
        }
        let signs = run_signs(layout.run_dir())?;
        for name in RUN_MARKS.into_iter().skip(1).chain([METRICS_FILE]) {
            let path = layout.run_dir().join(name);
            if is_regular(&path)?
                && !signs.contains(&path)
                && (name != METRICS_FILE || is_log_of_metrics(&path)?)
            {
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
        files.extend(signs.iter().cloned());
        let checkpoints: Vec<PathBuf> = catalog
            .entries
            .iter()
            .map(|entry| entry.path.clone())
            .chain(catalog.broken.iter().map(|(path, _)| path.clone()))
            .collect();
        let mut seen = HashSet::new();
        let bytes = checkpoints
            .iter()
            .chain(&files)
            .chain(in_place.iter().filter(|path| is_checkpoint(path)))
            .filter(|path| seen.insert(identity(path)));
        let bytes = bytes.map(|path| size_of(path)).fold(0, u64::saturating_add);
        Ok(Self { checkpoints, files, bytes, of_other_runs, catalog, unfinished, links, signs })
    }

    /// Removes them, and the directories that are empty then. The caller holds the run's lock.
    ///
    /// What shows that the directory is a run's is removed last, so that a removal that fails or is killed
    /// can be repeated: the checkpoints after the files that show nothing, then the other signs, burn's log
    /// at the end.
    ///
    /// # Errors
    ///
    /// The first one.
    pub fn remove(&self, layout: &RunLayout) -> Result<(), Error> {
        self.unfinished.iter().try_for_each(|path| remove_unfinished(path))?;
        let is_early = |path: &&PathBuf| !self.unfinished.contains(path) && !self.signs.contains(path);
        for path in self.files.iter().filter(is_early) {
            storage::remove_file(path).map_err(Error::io("remove", path))?;
        }
        for split in SPLITS {
            let split = layout.run_dir().join(split);
            let epochs = if is_own_directory(&split)? { list(&split)? } else { Vec::new() };
            for directory in epochs.iter().filter(|path| is_epoch(path)).chain([&split]) {
                if is_own_directory(directory)? && list(directory)?.is_empty() {
                    storage::remove_directory(directory).map_err(Error::io("remove", directory))?;
                }
            }
        }
        for link in &self.links {
            storage::remove_file(link).map_err(Error::io("remove", link))?;
        }
        clear(layout, &self.catalog)?;
        self.signs
            .iter()
            .try_for_each(|path| storage::remove_file(path).map(drop).map_err(Error::io("remove", path)))
    }

    /// What is in the run's directory, is not removed, and so keeps the directory. Nothing is changed.
    ///
    /// # Errors
    ///
    /// When a directory cannot be listed.
    pub fn left(&self, layout: &RunLayout) -> Result<Vec<PathBuf>, Error> {
        let mut removed: HashSet<PathBuf> = RUN_MARKS
            .iter()
            .take(1)
            .chain([&TAGS_LOCK_FILE])
            .map(|name| layout.run_dir().join(name))
            .collect();
        removed.extend(self.files.iter().chain(&self.links).cloned());
        for path in links_of_run(layout)?.iter().chain(&self.checkpoints) {
            removed.extend([
                metadata_path(path),
                evaluation_path(path),
                shards_directory(path),
                path.clone(),
            ]);
        }
        let mut left = Vec::new();
        for path in list(layout.run_dir())? {
            if stays(&path, layout, &removed)? {
                left.push(path);
            }
        }
        Ok(left)
    }
}

/// Whether a file stays, or a directory with what is in it: one of the run's own is removed when it is empty.
fn stays(path: &Path, layout: &RunLayout, removed: &HashSet<PathBuf>) -> Result<bool, Error> {
    if removed.contains(path) {
        return Ok(false);
    }
    let is_split = |path: &Path| SPLITS.iter().any(|split| layout.run_dir().join(split) == path);
    let is_removable = path.starts_with(layout.checkpoint_dir())
        || is_split(path)
        || is_epoch(path) && path.parent().is_some_and(is_split);
    if !is_removable || !is_own_directory(path)? {
        return Ok(true);
    }
    for path in list(path)? {
        if stays(&path, layout, removed)? {
            return Ok(true);
        }
    }
    Ok(false)
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
/// the directory was renamed or copied, that of the newest. Where there is none, those in the place of links
/// say it.
fn own_ids(layout: &RunLayout, catalog: &Catalog, in_place: &[(PathBuf, Metadata)]) -> HashSet<String> {
    let mut found: Vec<&Metadata> = catalog.entries.iter().map(|entry| &entry.metadata).collect();
    if found.is_empty() {
        found.extend(in_place.iter().map(|(_, metadata)| metadata));
        found.sort_by_key(|metadata| (metadata.checkpoint_timestamp, metadata.global_step));
    }
    let mut ids = HashSet::from([layout.run_id().to_owned()]);
    if !found.iter().any(|metadata| ids.contains(&metadata.run_id)) {
        ids.extend(found.last().map(|newest| newest.run_id.clone()));
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

/// Takes from a catalog of a directory outside the checkpoints of another run that has the same id.
fn take_of_same_id(
    catalog: &mut Catalog,
    own: &OwnCheckpoints,
    run_id: &str,
    directory: &Path,
) -> Vec<PathBuf> {
    let is_of_another = |metadata: &Metadata| metadata.run_id == run_id && !own.have(directory, metadata);
    let entries = catalog.entries.extract_if(.., |entry| is_of_another(&entry.metadata));
    let mut others: Vec<PathBuf> = entries.map(|entry| entry.path).collect();
    let broken = catalog.broken.extract_if(.., |(path, _)| {
        Metadata::of_checkpoint(path).is_ok_and(|metadata| is_of_another(&metadata))
    });
    others.extend(broken.map(|(path, _)| path));
    others
}

/// The run that saved a checkpoint, as far as its metadata says it.
fn run_id_of(path: &Path) -> Option<String> {
    Metadata::of_checkpoint(path).ok().map(|metadata| metadata.run_id)
}

/// The links in a directory that lead to one of these checkpoints, or to its metadata.
fn links_to(catalog: &Catalog, directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let paths = catalog.entries.iter().map(|entry| &entry.path);
    let mut targets = HashSet::new();
    for path in paths.chain(catalog.broken.iter().map(|(path, _)| path)) {
        targets.extend(real_path_if_there(path)?);
        targets.extend(real_path_if_there(&metadata_path(path))?);
    }
    let mut links = Vec::new();
    for path in list(directory)? {
        if is_symlink(&path)? && real_path_if_there(&path)?.is_some_and(|target| targets.contains(&target)) {
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
            for path in list(&epoch)? {
                if is_metric_file(&path)? {
                    files.push(path);
                }
            }
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

fn is_metric_file(path: &Path) -> Result<bool, Error> {
    Ok((name(path).ends_with(METRIC_SUFFIX) || name(path) == VALIDATIONS) && is_regular(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::run_signs::shows_a_run;
    use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A process that is killed after this many removals.
    struct Removals(AtomicUsize);

    impl Observer for Removals {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            let is_removal = matches!(operation, Operation::RemoveFile(_) | Operation::RemoveDirectory(_));
            match is_removal && self.0.fetch_sub(1, Ordering::Relaxed) == 0 {
                true => Verdict::Fail(std::io::ErrorKind::Interrupted.into()),
                false => Verdict::Proceed,
            }
        }
    }

    const FILES: [(&str, &str); 6] = [
        ("metrics.jsonl", "{\"format\":\"burn-ckpt metrics\",\"version\":1,\"run_id\":\"r\"}\n"),
        ("experiment.log", "2026-11-28T23:45:16.207228Z  INFO burn_trainer::run: begins\n"),
        ("metrics.csv", "step,epoch,split,scope,batch,time,train_loss\n"),
        ("tracker-csv.json", "{\"format\":\"burn-trainer tracker\",\"run_id\":\"r\"}\n"),
        ("train/epoch-1/Loss.log", "1\n"),
        ("valid/epoch-1/Loss.log", "1\n"),
    ];

    #[test]
    fn a_removal_that_ends_anywhere_leaves_a_run_that_can_be_removed() {
        for done in 0.. {
            let root = tempfile::tempdir().unwrap();
            let layout = RunLayout::at(root.path());
            fs::create_dir_all(layout.checkpoint_dir().join("last")).unwrap();
            for (name, text) in FILES {
                fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
                fs::write(root.path().join(name), text).unwrap();
            }
            let observation = observe(root.path(), Arc::new(Removals(AtomicUsize::new(done))));
            let removed = OwnFiles::of(&layout, true).unwrap().remove(&layout);
            drop(observation);
            if removed.is_ok() {
                assert!(done >= FILES.len(), "{done} removals");
                return;
            }
            let shows_a_run = shows_a_run(root.path()).unwrap();
            assert!(shows_a_run, "after {done} removals: {:?}", list(root.path()));
            OwnFiles::of(&layout, shows_a_run).unwrap().remove(&layout).unwrap();
            assert_eq!(list(root.path()).unwrap(), Vec::<PathBuf>::new(), "after {done} removals");
        }
    }
}
