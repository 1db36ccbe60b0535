//! The strategies of a run, each with its directory, its file names, its link, and the checkpoints that it
//! has already.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    FilenameTemplate, Ledger, link_name, note_outside_directory, panic_message, same_file_name,
};
use burn_ckpt::retention::{KeepRule, MetricMode};
use burn_ckpt::{RunLayout, chain};

use super::existing_checkpoints::ExistingCheckpoints;
use super::run_checkpoints::strategy_directory;
use crate::error::{Error, Result};
use crate::process::console::warn;
use crate::state::event::{RunProgress, TrainingEvent};
use crate::strategy::{SaveDecision, Strategy};

/// A strategy, and its output settings resolved for this run.
pub(super) struct ActiveStrategy {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) name: String,
    pub(super) directory: PathBuf,
    /// Whether lower or higher scores are better, for a strategy that ranks by them.
    pub(super) mode: Option<MetricMode>,
    pub(super) template: Option<FilenameTemplate>,
    pub(super) weights_only: bool,
    /// It is not called again.
    has_panicked: bool,
}

impl ActiveStrategy {
    /// Shows the events to the strategy, all of them also after it has decided to save. Its first decision to
    /// save counts.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] if it panics. It is not called again then, and decides to skip.
    pub(super) fn decide(
        &mut self,
        events: &[TrainingEvent<'_>],
        progress: &RunProgress<'_>,
    ) -> Result<SaveDecision> {
        if self.has_panicked {
            return Ok(SaveDecision::Skip);
        }
        let decisions = catch_unwind(AssertUnwindSafe(|| {
            events.iter().map(|event| self.strategy.decide(event, progress)).collect::<Vec<_>>()
        }));
        let decisions = decisions.map_err(|panic| {
            self.has_panicked = true;
            let message = format!("the strategy {} panicked: {}", self.name, panic_message(&*panic));
            log::error!("{message}");
            Error::Panicked { message, saved: None }
        })?;
        let saves = decisions.into_iter().find(|decision| *decision != SaveDecision::Skip);
        Ok(saves.unwrap_or(SaveDecision::Skip))
    }
}

/// Checks every strategy's file names, and registers it with its existing checkpoints.
///
/// # Errors
///
/// [`Error::Config`] for two strategies of one name or with one link, [`Error::Checkpoint`] for a name that
/// cannot be used.
pub(super) fn open(
    strategies: Vec<Box<dyn Strategy>>,
    metric_names: &[String],
    layout: &RunLayout,
    existing: &mut ExistingCheckpoints,
) -> Result<(Vec<ActiveStrategy>, Ledger)> {
    let checkpoint_dir = layout.checkpoint_dir();
    let mut ledger = Ledger::default();
    let mut active: Vec<ActiveStrategy> = Vec::new();
    let mut links = Vec::new();
    for mut strategy in strategies {
        let (name, output) = (strategy.name(), strategy.output());
        if active.iter().any(|other| other.name == name) {
            let reason = format!("two of them are called {name:?}; give them different metrics or dirpaths");
            return Err(Error::config("strategies", reason));
        }
        let template = output.filename.as_deref();
        let template = template.map(|source| FilenameTemplate::parse(source, metric_names)).transpose()?;
        let link = output.link.as_deref().map(|link| new_link(link, &mut links)).transpose()?;
        let link = link.map(|link| checkpoint_dir.join(link));
        let (directory, keep) = (strategy_directory(layout, &output.directory)?, strategy.keep());
        check_directory(&directory, active.iter().map(|other| other.directory.as_path()))?;
        if !directory.starts_with(&checkpoint_dir) {
            // Before anything is written there.
            note_outside(layout, &directory)?;
        }
        if existing.origin.is_some() {
            strategy.resume(existing.newest_training_time(&name));
        }
        let unread = link.as_deref().and_then(|link| existing.unread_target(link));
        ledger.register(&name, keep, link, existing.take(&name, keep, &directory));
        if let Some(unread) = unread {
            ledger.hold_link(&name);
            warn(&format!(
                "the link of {name} stays until there is a better new state, as {} cannot be read now",
                unread.display()
            ));
        }
        let mode = match keep {
            KeepRule::Best(mode, _) => Some(mode),
            _ => None,
        };
        active.push(ActiveStrategy {
            directory,
            mode,
            weights_only: output.weights_only,
            strategy,
            name,
            template,
            has_panicked: false,
        });
    }
    existing.report_rest();
    Ok((active, ledger))
}

/// The file name of a link that no strategy before has, and adds it to theirs.
fn new_link(name: &str, links: &mut Vec<String>) -> Result<String> {
    let link = link_name(name)?;
    if links.iter().any(|other| same_file_name(other, &link)) {
        let reason = format!("two of them keep the link {link}; turn save_symlink off for one");
        return Err(Error::config("strategies", reason));
    }
    links.push(link.clone());
    Ok(link)
}

/// Notes a directory outside of the run's. A failure of the disk is a warning: a disk that is full now may
/// not be so when a checkpoint is saved.
fn note_outside(layout: &RunLayout, directory: &Path) -> Result<()> {
    match note_outside_directory(layout, directory) {
        Err(error @ burn_ckpt::Error::Io { .. }) => {
            warn(&format!(
                "{} is not noted as a directory of the run: a start that does not configure it does not see its checkpoints: {}",
                directory.display(),
                chain(&error)
            ));
            Ok(())
        }
        noted => Ok(noted?),
    }
}

/// Checks that a directory is not one with another strategy's on a file system that does not tell capital
/// letters from small ones: there one strategy would delete the other's checkpoints.
fn check_directory<'a>(directory: &Path, mut others: impl Iterator<Item = &'a Path>) -> Result<()> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let is_one = |other: &&Path| *other != directory && same_file_name(&text(other), &text(directory));
    match others.find(is_one) {
        Some(other) => {
            let reason = format!(
                "the dirpaths {} and {} differ in capital letters only, and are one directory on some file systems; rename one",
                other.display(),
                directory.display()
            );
            Err(Error::config("strategies", reason))
        }
        None => Ok(()),
    }
}
