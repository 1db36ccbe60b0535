//! Opening a run: its id, its directory, its lock, and what to do with what is there already.

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{RunLock, clear, recover};
use burn_ckpt::{Catalog, RunLayout};
use jiff::Timestamp;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::process::launcher;
use crate::run::resume::{self, Resume};
use crate::saving::run_checkpoints::{elsewhere, scan};

/// A run that this process alone writes to, or another one does.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) layout: RunLayout,
    /// The checkpoints that were there when it was opened.
    pub(crate) present: Catalog,
    pub(crate) start: Timestamp,
    pub(crate) resume: Option<Resume>,
    lock: Option<RunLock>,
}

impl Run {
    /// Makes the run's directory, takes its lock, tidies up after a crash, and finds what is to be resumed.
    /// Fills in the configuration's run id. A process that is not to write does none of the first three.
    pub(crate) fn open(config: &mut TrainerConfig) -> Result<Self> {
        config.check()?;
        let start = Timestamp::now();
        config.fill_in(start);
        let run_id = config.run_id.as_deref().unwrap_or_default();
        let layout = RunLayout::new(&config.root, &config.logs, run_id)?;
        let elsewhere = elsewhere(config, &layout)?;
        if !config.writes() {
            let present = scan(&layout, &elsewhere)?;
            let resume = resume::find(config, &layout, &present)?;
            check_overwrite(config, &layout, &present, resume.as_ref())?;
            return Ok(Self { layout, present, start, resume, lock: None });
        }
        check_directories([&config.root, &layout.run_dir().join("train"), &layout.run_dir().join("valid")])?;
        let lock = RunLock::acquire(layout.run_dir())?;
        recover(&layout)?;
        let mut present = scan(&layout, &elsewhere)?;
        let resume = match resume::find(config, &layout, &present) {
            // Everything that is in the way of a fresh start is to go.
            Err(Error::NothingToResume { .. }) if config.overwrite => None,
            found => found?,
        };
        check_overwrite(config, &layout, &present, resume.as_ref())?;
        // Going on from another run's checkpoint would mix that run with the one that is here.
        let own = resume.as_ref().filter(|resume| has(&present, resume.checkpoint.path()));
        let start = own.map_or(start, |resume| resume.metadata.start_timestamp);
        if own.is_none() && !present.is_empty() && !config.overwrite {
            let path = layout.checkpoint_dir();
            return Err(Error::RunExists { run_id: layout.run_id().to_owned(), path });
        }
        if own.is_none() && config.overwrite {
            // Also where no checkpoint is left: there may be links and metric files.
            remove_run(&layout, &present)?;
            present = Catalog::default();
        }
        create(&layout.checkpoint_dir())?;
        Ok(Self { layout, present, start, resume, lock: Some(lock) })
    }

    /// Sees that what is resumed is the beginning of an epoch.
    pub(crate) fn resume_at_an_epoch(&mut self, config: &TrainerConfig) -> Result<()> {
        if let Some(resume) = self.resume.take() {
            self.resume = Some(resume::at_an_epoch(resume, config, &self.layout, &self.present)?);
        }
        Ok(())
    }

    /// Leaves the lock to the end of the process.
    pub(crate) fn keep_lock(&mut self) {
        if let Some(lock) = self.lock.take() {
            std::mem::forget(lock);
        }
    }
}

fn has(catalog: &Catalog, checkpoint: &Path) -> bool {
    let resolved = |path: &Path| fs::canonicalize(path).ok();
    let checkpoint = resolved(checkpoint);
    checkpoint.is_some() && catalog.entries.iter().any(|entry| resolved(&entry.path) == checkpoint)
}

/// A file where a directory is needed would be found out late, by metric files that cannot be written.
fn check_directories<const N: usize>(paths: [&PathBuf; N]) -> Result<()> {
    match paths.into_iter().find(|path| path.exists() && !path.is_dir()) {
        Some(path) => Err(Error::config("root", format!("{} is not a directory", path.display()))),
        None => Ok(()),
    }
}

/// `overwrite` removes what is there, so there is nothing of it to go on from: one of the two was not meant.
///
/// But a Slurm job that is started again has the arguments of its first start, and is to go on.
fn check_overwrite(
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
    resume: Option<&Resume>,
) -> Result<()> {
    let Some(resume) = resume.filter(|_| config.overwrite) else { return Ok(()) };
    if config.slurm_requeue && launcher::slurm_job().is_some() {
        return Ok(());
    }
    let path = resume.checkpoint.path();
    let is_below = match (fs::canonicalize(path), fs::canonicalize(layout.checkpoint_dir())) {
        (Ok(path), Ok(directory)) => path.starts_with(directory),
        _ => false,
    };
    if !is_below && !has(present, path) {
        return Ok(());
    }
    let wanted = config.ckpt_path.as_deref().unwrap_or_default();
    let reason = format!(
        "it removes the checkpoints of the run {}, and ckpt_path {wanted:?} goes on from one of them ({}): leave out \
         overwrite to go on, or ckpt_path to start anew",
        layout.run_id(),
        path.display()
    );
    Err(Error::config("overwrite", reason))
}

/// Removes what an earlier run of this id left: its checkpoints, wherever they are, and burn's metric files. The
/// user's own files in its directories stay.
fn remove_run(layout: &RunLayout, present: &Catalog) -> Result<()> {
    clear(layout, present)?;
    let run_dir = layout.run_dir();
    let directories = [run_dir.join("train"), run_dir.join("valid")];
    for path in directories.iter().filter(|path| path.is_dir()) {
        fs::remove_dir_all(path).map_err(|source| io_error("remove", path, source))?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| io_error("create the directory", path, source))
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    burn_ckpt::Error::Io { action, path: PathBuf::from(path), source }.into()
}
