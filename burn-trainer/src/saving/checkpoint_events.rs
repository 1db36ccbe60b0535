//! What the writer has done, for the callbacks: checkpoints that are durable, that lead, and that are
//! deleted.

use std::path::{Path, PathBuf};

use burn_ckpt::Metadata;
use burn_ckpt::plumbing::{Ledger, SaveReport};
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::IndexMap;

/// A checkpoint that is durable under its final name.
///
/// ```
/// use burn::train::LearnerModel;
/// use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointSaved};
///
/// struct Announce;
///
/// impl<M: LearnerModel> Callback<M> for Announce {
///     fn name(&self) -> String {
///         "announce".to_owned()
///     }
///
///     fn on_checkpoint_saved(
///         &mut self,
///         _: &mut CallbackContext<'_, M>,
///         saved: &CheckpointSaved,
///     ) -> CallbackResult {
///         println!("step {}: {}, {:?}", saved.global_step, saved.path.display(), saved.metadata()?.metrics);
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointSaved {
    /// The file.
    pub path: PathBuf,
    /// The epoch of the state, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The file's size.
    pub size_bytes: u64,
}

impl CheckpointSaved {
    /// Reads its metadata: metrics, digests, and why it was saved.
    ///
    /// # Errors
    ///
    /// When it cannot be read, as it was deleted since, say.
    pub fn metadata(&self) -> burn_ckpt::Result<Metadata> {
        Metadata::of_checkpoint(&self.path)
    }
}

/// What the writer has done since the last look.
#[derive(Debug, Default)]
pub(crate) struct CheckpointEvents {
    pub(crate) saved: Vec<CheckpointSaved>,
    /// The new foremost checkpoint of strategies, by their names.
    pub(crate) best: Vec<(String, SavedCheckpoint)>,
    pub(crate) deleted: Vec<PathBuf>,
}

impl CheckpointEvents {
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &Path> {
        self.deleted.iter().map(PathBuf::as_path)
    }
}

/// Collects events until they are taken.
#[derive(Debug, Default)]
pub(super) struct EventTracker {
    /// The foremost checkpoint of each strategy when it was looked at last.
    leading: IndexMap<String, SavedCheckpoint>,
    events: CheckpointEvents,
}

impl EventTracker {
    /// Begins with the checkpoints of earlier starts, which are not news.
    pub(super) fn new<'a>(ledger: &mut Ledger, strategies: impl Iterator<Item = &'a str>) -> Self {
        let mut tracker = Self::default();
        tracker.look_at(ledger, strategies);
        tracker.take();
        tracker
    }

    /// Notes saves that have ended, which checkpoints lead since, and which were deleted.
    pub(super) fn note<'a>(
        &mut self,
        reports: &[SaveReport],
        ledger: &mut Ledger,
        strategies: impl Iterator<Item = &'a str>,
    ) {
        for report in reports {
            let Ok(size_bytes) = report.outcome else { continue };
            let (epoch, global_step) = (report.epoch, report.global_step);
            let saved =
                |path: &PathBuf| CheckpointSaved { path: path.clone(), epoch, global_step, size_bytes };
            self.events.saved.extend(report.paths.iter().map(saved));
        }
        self.look_at(ledger, strategies);
    }

    fn look_at<'a>(&mut self, ledger: &mut Ledger, strategies: impl Iterator<Item = &'a str>) {
        self.events.deleted.extend(ledger.take_removed());
        for strategy in strategies {
            let Some(first) = ledger.top_ranked(strategy) else { continue };
            if self.leading.get(strategy).is_none_or(|before| before.path != first.path) {
                self.events.best.push((strategy.to_owned(), first.clone()));
                self.leading.insert(strategy.to_owned(), first.clone());
            }
        }
    }

    pub(super) fn take(&mut self) -> CheckpointEvents {
        std::mem::take(&mut self.events)
    }
}
