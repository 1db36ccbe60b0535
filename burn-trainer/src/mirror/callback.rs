//! The callback that tells the mirror's thread what is saved, what leads and what is deleted, and waits for
//! it at the end of the run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burn::train::LearnerModel;
use burn_ckpt::mirror::{DiskHistory, OUTSIDE_DIR};
use burn_ckpt::plumbing::{is_checkpoint, list, storage};
use burn_ckpt::{CatalogEntry, RunLayout};

use super::keep::KeepSettings;
use super::queue::{Present, Queue};
use crate::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointInfo};
use crate::config::{MirrorConfig, TrainerConfig};
use crate::process::console::{note, warn};
use crate::process::progress::figures::span;
use crate::process::signals::StopView;
use crate::saving::run_checkpoints::{elsewhere, scan};

const NAME: &str = "mirror";
/// What is left of the time after a signal for the rest of the end.
const MARGIN: Duration = Duration::from_millis(500);

/// Fills the mirror's queue.
pub(super) struct MirrorCallback {
    queue: Arc<Queue>,
    keep: KeepSettings,
    config: TrainerConfig,
    wait_at_end: Duration,
    signals: StopView,
    is_slow_said: bool,
}

impl MirrorCallback {
    pub(super) fn new(
        queue: Arc<Queue>,
        settings: &MirrorConfig,
        config: &TrainerConfig,
        own: &[PathBuf],
        signals: StopView,
    ) -> Self {
        let keep = KeepSettings::new(settings, config, own);
        // Checked with the configuration.
        let wait_at_end = Duration::try_from_secs_f64(settings.wait_at_end_seconds).unwrap_or_default();
        Self { queue, keep, config: config.clone(), wait_at_end, signals, is_slow_said: false }
    }

    /// What the mirror lacks at the end. `why_late` says why, where there was no error.
    fn say_what_is_missing(&self, why_late: &dyn Fn() -> String) {
        let result = self.queue.result();
        let (mut late, mut why) = (Vec::new(), None);
        for path in &result.unsent {
            match self.queue.why_unsent(path) {
                (Some(error), true) => note(&format!(
                    "the mirror lacks {}, which cannot be sent as it is on disk: {error}",
                    path.display()
                )),
                (error, _) => {
                    late.push(path.display().to_string());
                    why = error;
                }
            }
        }
        if !late.is_empty() {
            note(&format!(
                "the mirror lacks {}: {}. They are on disk, and a start that resumes the run sends them, or burn-ckpt mirror",
                late.join(" and "),
                why.unwrap_or_else(why_late)
            ));
        } else if result.has_stale_links {
            note(&format!(
                "the links in the mirror can name older checkpoints: {}. A start that resumes the run moves them",
                result.last_error.unwrap_or_else(why_late)
            ));
        }
    }
}

impl<M: LearnerModel> Callback<M> for MirrorCallback {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    /// What is on disk already is sent too: the store may have been dead when it was saved.
    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let keep = self.keep.rule(context)?;
        let layout = RunLayout::at(&context.run().run_dir);
        for (strategy, path) in leading(&layout)? {
            self.queue.leads(&strategy, &path);
        }
        // In directories outside of the run's own too.
        let found = scan(&layout, &elsewhere(&self.config, &layout)?)?;
        self.queue.has_history(DiskHistory::of(&found));
        self.queue.begin(keep, found.entries.into_iter().map(|entry| present(&layout, entry)));
        Ok(())
    }

    fn on_checkpoint_saved(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        self.queue.saved(checkpoint.path.clone());
        Ok(())
    }

    fn on_best_changed(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        strategy: &str,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        self.queue.leads(strategy, &checkpoint.path);
        Ok(())
    }

    fn on_checkpoint_deleted(
        &mut self,
        _: &mut CallbackContext<'_, M>,
        checkpoint: &CheckpointInfo,
    ) -> CallbackResult {
        if self.queue.deleted(&checkpoint.path) && !std::mem::replace(&mut self.is_slow_said, true) {
            warn(
                "the mirror is slower than the saves: checkpoints that are replaced before they are sent are left out of it",
            );
        }
        Ok(())
    }

    fn on_fit_end(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        let left = self.signals.time_left();
        let wait = left.map_or(self.wait_at_end, |left| self.wait_at_end.min(left.saturating_sub(MARGIN)));
        let is_stopped = || left.is_none() && self.signals.time_left().is_some();
        let waiting = self.queue.waiting_at_end();
        if waiting > 0 && !wait.is_zero() {
            let what = if waiting == 1 { "checkpoint" } else { "checkpoints" };
            note(&format!(
                "waiting for the mirror, {} at most: {waiting} {what} to send (a signal ends the wait)",
                span(wait.as_secs_f64())
            ));
        }
        self.queue.end(wait, &is_stopped);
        self.say_what_is_missing(&|| match is_stopped() {
            true => "a signal has ended the wait".to_owned(),
            false => format!("it took longer than {}", span(wait.as_secs_f64())),
        });
        Ok(())
    }
}

/// A checkpoint on disk, with its name in the mirror.
fn present(layout: &RunLayout, entry: CatalogEntry) -> Present {
    let name = match entry.path.strip_prefix(layout.checkpoint_dir()) {
        Ok(below) => below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/"),
        Err(_) => {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
            format!("{OUTSIDE_DIR}/{name}")
        }
    };
    Present { name, sha256: entry.metadata.checkpoint_checksum, path: entry.path }
}

/// The foremost checkpoints of earlier starts, by the names of their strategies: where the links lead.
fn leading(layout: &RunLayout) -> burn_ckpt::Result<Vec<(String, PathBuf)>> {
    let directory = layout.checkpoint_dir();
    let mut leading = Vec::new();
    for link in list(&directory)?.into_iter().filter(|path| is_checkpoint(path)) {
        let target = storage::read_link(&link).map_err(burn_ckpt::Error::io("read the link", &link))?;
        let Some(target) = target else { continue };
        let name = link.file_stem().unwrap_or_default().to_string_lossy();
        let strategy = name.strip_prefix("best_").map_or(name.to_string(), |metric| format!("best:{metric}"));
        leading.push((strategy, place(layout, &target)?));
    }
    Ok(leading)
}

/// The path of a link's target as the strategy has it that saves there.
fn place(layout: &RunLayout, target: &Path) -> burn_ckpt::Result<PathBuf> {
    let (directory, name) = (target.parent().unwrap_or(target), target.file_name().unwrap_or_default());
    match layout.strategy_dir(directory) {
        Ok(directory) => Ok(directory.join(name)),
        // A link of the user's: no strategy saves there.
        Err(burn_ckpt::Error::Name { .. }) => Ok(layout.checkpoint_dir().join(target)),
        Err(error) => Err(error),
    }
}
