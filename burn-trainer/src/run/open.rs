//! Opens a run: its id, its directory, its lock, and what is done with checkpoints that exist already.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use burn::train::metric::store::Split;
use burn_ckpt::chain;
use burn_ckpt::metrics_log::ended_by_log;
use burn_ckpt::plumbing::{
    DIRECTORIES_FILE, RunLock, TAGS_FILE, check_own, clear, create_directory, is_there, is_unsafe,
    links_to_missing_directories, real_path_if_there, recover, remove_report_page, shown, storage,
    tracker_files,
};
use burn_ckpt::{Catalog, RunLayout};
use jiff::Timestamp;

use super::created_directories::CreatedDirectories;
use super::{file_system, find_checkpoint, start_lines};
use crate::config::TrainerConfig;
use crate::error::skipped_checkpoint::all_are_lost;
use crate::error::{Error, Result, SkippedCheckpoint};
use crate::metrics::{remove_metric_files, remove_metrics_log};
use crate::mirror::MirrorOfRun;
use crate::process::console::{ResumedBatches, warn};
use crate::process::launcher;
use crate::process::run_output::OpenOutput;
use crate::process::signals::StopView;
use crate::saving::run_checkpoints::{elsewhere, scan, twin, warn_of_missing_directories};
use crate::state::resume_point::ResumePoint;
use crate::training_loop::parts::run_limits::NothingLeft;

/// An open run. This process alone writes to it, or leaves that to the process of rank 0.
#[derive(Debug)]
pub(crate) struct OpenRun {
    pub(crate) layout: RunLayout,
    /// The checkpoints that existed when it was opened.
    pub(crate) present: Catalog,
    /// When the run started, possibly in an earlier process.
    pub(crate) start: Timestamp,
    /// When this process opened it.
    pub(super) opened: Timestamp,
    pub(crate) resume: Option<ResumePoint>,
    /// How many batches of the first epoch are done.
    pub(crate) resumed_batches: ResumedBatches,
    /// Whether `resume` is a checkpoint of this run, and not of another.
    pub(super) resumes_itself: bool,
    /// What is printed and logged of it.
    pub(crate) output: OpenOutput,
    /// Before the lock: what writes to the mirror ends first.
    pub(crate) mirror: MirrorOfRun,
    lock: Option<RunLock>,
    /// Removed where the start fails, after the lock.
    created: CreatedDirectories,
}

impl OpenRun {
    /// Creates the run's directory, takes its lock, cleans up after a crash, and finds the checkpoint to
    /// resume from. Fills in the configuration's run id. A process that does not write only finds it.
    pub(crate) fn open(config: &mut TrainerConfig, signals: &StopView) -> Result<Self> {
        config.check()?;
        let opened = Timestamp::now();
        config.fill_in(opened);
        let run_id = config.run_id.as_deref().unwrap_or_default();
        let layout = RunLayout::new(&config.root, &config.logs, run_id)?;
        let elsewhere = elsewhere(config, &layout)?;
        let output = OpenOutput::open(run_id, config.progress);
        let _entered = output.enter();
        start_lines::rank(config, run_id);
        if !config.writes() {
            return Self::open_for_reading(config, layout, &elsewhere, opened, output);
        }
        check_directories(config, &layout)?;
        let created = CreatedDirectories::below_which_all_are_new(&layout.checkpoint_dir());
        let mut lock = RunLock::acquire(layout.run_dir(), config.lock)?;
        file_system::report(&lock, &layout)?;
        check_own(&layout)?;
        recover(&layout, &elsewhere)?;
        warn_of_missing_directories(&layout)?;
        let mut present = scan(&layout, &elsewhere)?;
        log_broken(&present);
        let mut mirror = MirrorOfRun::open(config, &layout, &present, signals)?;
        let found = find_checkpoint::find_or_download(config, &layout, &elsewhere, &mut present, &mut mirror);
        let resume = match found {
            // What prevents a resume is removed for the fresh start. Not what another start may resume: a
            // checkpoint that this start could not read can be readable when it is to be removed.
            Err(Error::NothingToResume { skipped, .. }) if config.overwrite && all_are_lost(&skipped) => None,
            found => found?,
        };
        check_overwrite(config, &layout, &present, resume.as_ref())?;
        // Another run's checkpoint must not be resumed among the checkpoints of this one.
        let resumes_itself = is_own(resume.as_ref(), &layout, &present)?;
        let own = resume.as_ref().filter(|_| resumes_itself);
        let start = own.map_or(opened, |resume| resume.metadata.start_timestamp);
        // With `auto` the only checkpoints without one to resume are weights.
        let begins_beside_weights = resume.is_none() && config.ckpt_path.as_deref() == Some("auto");
        if own.is_none() {
            check_new_id(layout.run_id())?;
            check_new_run(config, &layout, &present, begins_beside_weights)?;
            mirror.check_new_run(config, layout.run_id())?;
        }
        check_anything_left(config, resume.as_ref().filter(|_| !resumes_itself))?;
        if own.is_none() {
            remove_earlier(config, &layout, &mut present, &mut lock)?;
        }
        started_after_all(&mut lock, &layout, &present);
        create_directory(&layout.checkpoint_dir())?;
        layout.run_dir().parent().iter().for_each(|logs| created.ignore_in_git(logs));
        Ok(Self {
            layout,
            present,
            start,
            opened,
            resumed_batches: batches_done(resume.as_ref()),
            resume: resume.map(|resume| ResumePoint { is_of_another_run: !resumes_itself, ..resume }),
            resumes_itself,
            output,
            mirror,
            lock: Some(lock),
            created,
        })
    }

    /// The same for a process that does not write: it creates, locks and cleans nothing.
    fn open_for_reading(
        config: &TrainerConfig,
        layout: RunLayout,
        elsewhere: &[PathBuf],
        opened: Timestamp,
        output: OpenOutput,
    ) -> Result<Self> {
        let present = scan(&layout, elsewhere)?;
        #[cfg(feature = "mirror")]
        find_checkpoint::check_mirror(config, &layout, &present)?;
        let resume = find_checkpoint::find(config, &layout, &present)?;
        check_overwrite(config, &layout, &present, resume.as_ref())?;
        Ok(Self {
            resumes_itself: is_own(resume.as_ref(), &layout, &present)?,
            layout,
            present,
            start: opened,
            opened,
            resumed_batches: batches_done(resume.as_ref()),
            resume,
            output,
            mirror: MirrorOfRun::default(),
            lock: None,
            created: CreatedDirectories::default(),
        })
    }

    /// Makes sure that the run resumes at the beginning of an epoch.
    pub(crate) fn resume_at_an_epoch(&mut self, config: &TrainerConfig) -> Result<()> {
        if let Some(resume) = self.resume.take() {
            let resume = find_checkpoint::at_an_epoch(resume, config, &self.layout, &self.present)?;
            self.resumed_batches.store(resume.batches_done(), Ordering::Relaxed);
            self.resume = Some(resume);
        }
        Ok(())
    }

    /// The newest checkpoint before one that was found to be damaged when its state was restored.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToResume`] with those `skipped` where there is none.
    pub(super) fn resume_before(
        &mut self,
        damaged: &Path,
        at_an_epoch: bool,
        skipped: &mut Vec<SkippedCheckpoint>,
    ) -> Result<ResumePoint> {
        let resume = find_checkpoint::before(damaged, at_an_epoch, &self.layout, &self.present, skipped)?;
        self.start = resume.metadata.start_timestamp;
        self.resumed_batches.store(resume.batches_done(), Ordering::Relaxed);
        Ok(resume)
    }

    /// Keeps the directories that this run has created: training has begun. How an earlier process ended is
    /// no longer how the run did.
    pub(super) fn training_has_begun(&mut self) {
        self.created.keep();
        self.lock.iter_mut().for_each(RunLock::remove_file_at_end);
    }

    /// Keeps the lock until the process ends.
    pub(crate) fn keep_lock(&mut self) {
        if let Some(lock) = self.lock.take() {
            std::mem::forget(lock);
        }
    }
}

/// Has the lock say that this start came after the newest time that the run's files say: of a checkpoint, or
/// of an end. What cannot be read says none.
fn started_after_all(lock: &mut RunLock, layout: &RunLayout, present: &Catalog) {
    let saved = present.entries.iter().map(|entry| entry.metadata.checkpoint_timestamp).max();
    let ended = ended_by_log(layout.run_dir(), 0, Timestamp::MIN).ok().flatten();
    saved.max(ended.map(|end| end.time)).iter().for_each(|newest| lock.started_after(*newest));
}

fn batches_done(resume: Option<&ResumePoint>) -> ResumedBatches {
    Arc::new(resume.map_or(0, ResumePoint::batches_done).into())
}

/// Rejects a new run of an id that looks like another one in a table. Runs that are there are resumed.
fn check_new_id(run_id: &str) -> Result<()> {
    if run_id.trim() != run_id {
        return Err(Error::config("run_id", format!("{run_id:?} begins or ends with a space")));
    }
    match run_id.chars().find(|letter| is_unsafe(*letter)) {
        None => Ok(()),
        Some(letter) => {
            let reason = format!("{} has {}, which cannot be seen", shown(run_id), letter.escape_unicode());
            Err(Error::config("run_id", reason))
        }
    }
}

/// Rejects a new run of an id that the disk has checkpoints of.
fn check_new_run(
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
    begins_beside_weights: bool,
) -> Result<()> {
    if config.overwrite || begins_beside_weights {
        return Ok(());
    }
    // On a disk that is not mounted there can be more.
    let mut missing: Vec<PathBuf> =
        links_to_missing_directories(layout)?.into_iter().map(|(_, directory)| directory).collect();
    missing.sort();
    missing.dedup();
    if present.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(Error::RunExists { run_id: layout.run_id().to_owned(), path: layout.checkpoint_dir(), missing })
}

/// Rejects a new run that begins with another run's checkpoint and would have no step to do: it would save
/// nothing, and say that it is complete.
fn check_anything_left(config: &TrainerConfig, other: Option<&ResumePoint>) -> Result<()> {
    let Some(other) = other else { return Ok(()) };
    let Some(NothingLeft { setting, limit, done }) = NothingLeft::of(config, other) else { return Ok(()) };
    let reason = format!(
        "it is {limit}, and {} of the run {} has {done} already, which is counted: nothing would be trained",
        other.checkpoint.path().display(),
        other.metadata.run_id,
    );
    Err(Error::config(setting, reason))
}

/// Whether a checkpoint is one of this run: listed, in the run's directory (a link that a copy turned into a
/// file is), or with the content of one that is listed.
///
/// # Errors
///
/// When that cannot be found out. It is not "no": the run would be another one then, and `overwrite` would
/// remove what it resumes.
fn is_own(resume: Option<&ResumePoint>, layout: &RunLayout, present: &Catalog) -> Result<bool> {
    let Some(resume) = resume else { return Ok(false) };
    let path = resume.checkpoint.path();
    Ok(is_in_run(path, layout, present)?
        || (resume.metadata.run_id == layout.run_id() && twin(&resume.metadata, present).is_some()))
}

/// Whether a checkpoint is in the run's directory, or is one of those that are present, under any name of its
/// directory.
fn is_in_run(path: &Path, layout: &RunLayout, present: &Catalog) -> Result<bool> {
    let Some(path) = real_path_if_there(path)? else { return Ok(false) };
    if real_path_if_there(&layout.checkpoint_dir())?.is_some_and(|directory| path.starts_with(directory)) {
        return Ok(true);
    }
    for entry in &present.entries {
        if real_path_if_there(&entry.path)?.as_ref() == Some(&path) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks early that no file is in the place of a directory: later the metric files could not be written.
fn check_directories(config: &TrainerConfig, layout: &RunLayout) -> Result<()> {
    let root = &*config.root;
    let above = root.ancestors().filter(|part| !part.as_os_str().is_empty());
    let splits = ["train", "valid"].map(|split| layout.run_dir().join(split));
    for part in splits.iter().filter(|_| config.metric_files).map(PathBuf::as_path).chain(above) {
        let stat = storage::stat(part).map_err(burn_ckpt::Error::io("read", part))?;
        if stat.is_some_and(|stat| !stat.is_dir()) {
            let reason = match part == root || !root.starts_with(part) {
                true => format!("{} is not a directory", part.display()),
                false => format!("{} cannot be read: Not a directory: {}", root.display(), part.display()),
            };
            return Err(Error::config("root", reason));
        }
    }
    Ok(())
}

/// Rejects `overwrite` together with a `ckpt_path` to a checkpoint that it would remove.
///
/// A requeued Slurm job may have both: it has the arguments of its first start, and resumes.
fn check_overwrite(
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
    resume: Option<&ResumePoint>,
) -> Result<()> {
    let Some(resume) = resume.filter(|_| config.overwrite) else { return Ok(()) };
    if config.slurm_requeue && launcher::slurm_job().is_some() {
        return Ok(());
    }
    let path = resume.checkpoint.path();
    if !is_in_run(path, layout, present)? {
        return Ok(());
    }
    let ckpt_path = config.ckpt_path.as_deref().unwrap_or_default();
    let reason = format!(
        "it removes the checkpoints of the run {}, and ckpt_path {ckpt_path:?} resumes one of them ({}): leave out \
         overwrite to resume, or ckpt_path to start from the beginning",
        layout.run_id(),
        path.display()
    );
    Err(Error::config("overwrite", reason))
}

/// Removes what there is of an earlier run of this id, before a new one begins.
fn remove_earlier(
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &mut Catalog,
    lock: &mut RunLock,
) -> Result<()> {
    if !config.overwrite {
        // Of a run that ended before its first checkpoint.
        return remove_shown(layout);
    }
    // Also without any checkpoint: there can be links and metric files.
    remove_run(layout, present)?;
    lock.remove_file_at_end();
    *present = Catalog::default();
    Ok(())
}

/// Removes the files of an earlier run of this id: its checkpoints in all directories, its log of metrics,
/// its page, and burn's metric files. Other files in these directories stay.
fn remove_run(layout: &RunLayout, present: &Catalog) -> Result<()> {
    for path in clear(layout, present)? {
        warn(&format!(
            "overwrite leaves {}, which is not a checkpoint of a run: move it away, as each start of the run names it",
            path.display()
        ));
    }
    let tags = layout.run_dir().join(TAGS_FILE);
    if is_there(&tags)? {
        warn(&format!(
            "overwrite leaves {}, which does not have tags and notes of a run: move it away if the new run is to have tags",
            tags.display()
        ));
    }
    let noted = layout.run_dir().join(DIRECTORIES_FILE);
    storage::remove_file(&noted).map_err(burn_ckpt::Error::io("remove", &noted))?;
    remove_metrics_log(layout.run_dir())?;
    remove_shown(layout)?;
    for split in [Split::Train, Split::Valid] {
        remove_metric_files(layout.run_dir(), &split, 0)?;
    }
    Ok(())
}

/// Removes what shows an earlier run of this id: its page, and the files of its trackers.
fn remove_shown(layout: &RunLayout) -> Result<()> {
    remove_report_page(layout.run_dir())?;
    for path in tracker_files(layout.run_dir())? {
        storage::remove_file(&path).map_err(burn_ckpt::Error::io("remove", &path))?;
    }
    Ok(())
}

fn log_broken(present: &Catalog) {
    for (path, error) in &present.broken {
        log::warn!("{} is ignored: {}", path.display(), chain(error));
    }
}
