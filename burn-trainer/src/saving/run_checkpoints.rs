//! The checkpoints that a run has, wherever its strategies put them.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{BEST_DIR, LAST_DIR, ON_EXCEPTION_DIR};
use burn_ckpt::{Catalog, Checkpoint, Metadata, RunLayout, Section};

use crate::config::TrainerConfig;
use crate::error::Result;
use crate::state::position::TrainerState;
use crate::strategy::StrategyConfig;

/// The checkpoints of the run that a configuration names, oldest first.
pub(crate) fn checkpoints(config: &TrainerConfig) -> Result<Catalog> {
    let layout = RunLayout::new(&config.root, &config.logs, config.run_id.as_deref().unwrap_or_default())?;
    scan(&layout, &elsewhere(config, &layout)?)
}

/// The newest checkpoint of the run that can be gone on from, as its header tells.
pub(crate) fn newest_resumable(config: &TrainerConfig) -> Option<PathBuf> {
    let paths = checkpoints(config).ok()?.entries.into_iter().rev().map(|entry| entry.path);
    paths.into_iter().find(|path| epochs_to_resume_after(path).is_some())
}

/// The epochs done in a checkpoint, if it can be gone on from.
pub(crate) fn epochs_to_resume_after(path: &Path) -> Option<u64> {
    let checkpoint =
        Checkpoint::open(path).ok().filter(|checkpoint| checkpoint.has_section(Section::OPTIMIZER))?;
    Some(checkpoint.trainer_state::<TrainerState>().ok()?.position.epochs())
}

/// The run's checkpoints, oldest first, wherever its strategies put them.
pub(crate) fn scan(layout: &RunLayout, elsewhere: &[PathBuf]) -> Result<Catalog> {
    let mut catalog = Catalog::scan(layout)?;
    for directory in elsewhere {
        let found = Catalog::scan_directory(directory)?;
        // Other runs may use the directory too.
        let ours = |metadata: &Metadata| metadata.run_id == layout.run_id();
        catalog.entries.extend(found.entries.into_iter().filter(|entry| ours(&entry.metadata)));
        let told = |path: &Path| Metadata::of_checkpoint(path).is_ok_and(|metadata| ours(&metadata));
        catalog.broken.extend(found.broken.into_iter().filter(|(path, _)| told(path)));
    }
    catalog.sort();
    Ok(catalog)
}

/// The directories that the configuration names outside the run's own, which [`Catalog::scan`] finds by itself.
pub(crate) fn elsewhere(config: &TrainerConfig, layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for strategy in config.effective_strategies() {
        let dirpath = match strategy {
            StrategyConfig::Best(best) => best.dirpath.unwrap_or_else(|| BEST_DIR.into()),
            StrategyConfig::Last(last) => last.dirpath.unwrap_or_else(|| LAST_DIR.into()),
            StrategyConfig::OnException(failed) => failed.dirpath.unwrap_or_else(|| ON_EXCEPTION_DIR.into()),
        };
        directories.push(layout.strategy_dir(&dirpath)?);
    }
    directories.retain(|directory| !directory.starts_with(layout.checkpoint_dir()));
    directories.sort();
    directories.dedup();
    Ok(directories)
}
