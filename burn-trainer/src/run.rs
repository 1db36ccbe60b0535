//! Opening a run: its id, its directory, its lock, and what to do with what is there already.

use std::fs;
use std::path::{Path, PathBuf};

use burn_ckpt::{Catalog, CatalogEntry, RunLayout, RunLock, recover};
use jiff::Timestamp;

use crate::config::TrainerConfig;
use crate::error::{Error, Result};
use crate::resume::{self, Resume};
use crate::strategy::StrategyConfig;

/// Where a run's checkpoints can be.
#[derive(Debug)]
pub(crate) struct RunFiles {
    pub(crate) layout: RunLayout,
    /// Directories that the configuration names beside those in the run's own.
    elsewhere: Vec<PathBuf>,
}

/// A run that this process alone writes to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) files: RunFiles,
    pub(crate) start: Timestamp,
    pub(crate) resume: Option<Resume>,
    _lock: RunLock,
}

impl Run {
    /// Makes the run's directory, takes its lock, tidies up after a crash, and finds what is to be resumed.
    /// Fills in the configuration's run id.
    pub(crate) fn open(config: &mut TrainerConfig) -> Result<Self> {
        config.check()?;
        let start = Timestamp::now();
        let run_id = config.run_id.get_or_insert_with(|| made_up_id(start));
        let layout = RunLayout::new(&config.root, &config.logs, run_id)?;
        let files = RunFiles { elsewhere: elsewhere(config, &layout.checkpoint_dir()), layout };
        let layout = &files.layout;
        check_directory(&config.root, "root")?;
        let lock = RunLock::acquire(layout)?;
        recover(layout)?;
        let resume = resume::find(config, &files)?;
        let present = files.scan()?;
        // Going on from another run's checkpoint would mix that run with the one that is here.
        let goes_on = resume.as_ref().is_some_and(|resume| has(&present, resume.checkpoint.path()));
        if !goes_on && !present.is_empty() && config.ckpt_path.as_deref() != Some("auto") {
            if !config.overwrite {
                let path = layout.checkpoint_dir();
                return Err(Error::RunExists { run_id: layout.run_id().to_owned(), path });
            }
            clear(layout)?;
        }
        create(&layout.checkpoint_dir())?;
        Ok(Self { files, start, resume, _lock: lock })
    }
}

impl RunFiles {
    /// The run's checkpoints, oldest first, wherever its strategies put them.
    pub(crate) fn scan(&self) -> Result<Catalog> {
        let mut catalog = Catalog::scan(&self.layout)?;
        for directory in &self.elsewhere {
            let found = Catalog::scan_directory(directory)?;
            // Other runs may use the directory too.
            let ours = |entry: &CatalogEntry| entry.metadata.run_id == self.layout.run_id();
            catalog.entries.extend(found.entries.into_iter().filter(ours));
        }
        catalog.sort();
        Ok(catalog)
    }
}

fn has(catalog: &Catalog, checkpoint: &Path) -> bool {
    let resolved = |path: &Path| fs::canonicalize(path).ok();
    let checkpoint = resolved(checkpoint);
    checkpoint.is_some() && catalog.entries.iter().any(|entry| resolved(&entry.path) == checkpoint)
}

/// The directories that the configuration names, but for those that [`Catalog::scan`] finds by itself: the ones
/// directly below the run's `checkpoint` directory.
fn elsewhere(config: &TrainerConfig, checkpoint_dir: &Path) -> Vec<PathBuf> {
    let directories = config.effective_strategies().into_iter().filter_map(|strategy| match strategy {
        StrategyConfig::Best(best) => best.dirpath,
        StrategyConfig::Last(last) => last.dirpath,
        StrategyConfig::OnException(on_exception) => on_exception.dirpath,
    });
    let mut directories: Vec<PathBuf> = directories
        .map(|directory| checkpoint_dir.join(directory))
        .filter(|directory| directory.parent() != Some(checkpoint_dir))
        .collect();
    directories.sort();
    directories.dedup();
    directories
}

/// `2024-01-15T10-30-00-3f2a`: sorts by time, and two started in one second differ.
fn made_up_id(start: Timestamp) -> String {
    let mixed = start.subsec_nanosecond().cast_unsigned() ^ std::process::id().wrapping_mul(0x9E37_79B9);
    format!("{}-{:04x}", start.strftime("%Y-%m-%dT%H-%M-%S"), (mixed ^ (mixed >> 16)) & 0xFFFF)
}

/// A root that is a file would be reported by the first directory below it, which helps nobody.
fn check_directory(path: &Path, setting: &str) -> Result<()> {
    match fs::metadata(path) {
        Ok(facts) if !facts.is_dir() => {
            Err(Error::config(setting, format!("{} is not a directory", path.display())))
        }
        _ => Ok(()),
    }
}

/// Removes what an earlier run of this id left: its checkpoints and burn's metric files. The user's own files
/// in the directory stay.
fn clear(layout: &RunLayout) -> Result<()> {
    let run_dir = layout.run_dir();
    let directories = [layout.checkpoint_dir(), run_dir.join("train"), run_dir.join("valid")];
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
