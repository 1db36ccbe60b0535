//! What the writer has done, for the callbacks: checkpoints that are durable, that lead, and that are
//! deleted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_ckpt::Metadata;
use burn_ckpt::plumbing::{Ledger, SaveReport};
use indexmap::IndexMap;

/// A checkpoint of the run, as the events of a [callback](crate::callbacks::Callback) tell of it: it was
/// saved, a strategy ranks it first, or it was deleted.
///
/// ```
/// use burn::train::LearnerModel;
/// use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CheckpointInfo};
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
///         saved: &CheckpointInfo,
///     ) -> CallbackResult {
///         println!("step {}: {}, {:?}", saved.global_step, saved.path.display(), saved.metrics);
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// The file. One state that two strategies keep has two.
    pub path: PathBuf,
    /// The epoch of the state, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub global_step: u64,
    /// The latest value of every metric at the state, as the metadata has them.
    pub metrics: IndexMap<String, f64>,
    /// `sha256:` and the digest of the `.ckpt` file in lower-case hexadecimal, as the metadata has it.
    pub checksum: String,
    /// The size of its file, or of all its files if it has several.
    pub size_bytes: u64,
}

impl CheckpointInfo {
    /// A checkpoint of an earlier start, under one of its names.
    pub(super) fn of_earlier(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_path_buf(),
            epoch: metadata.epoch,
            global_step: metadata.global_step,
            metrics: metadata.metrics.clone(),
            checksum: metadata.checkpoint_checksum.clone(),
            size_bytes: metadata.total_bytes(),
        }
    }

    fn of_report(path: &Path, report: &SaveReport) -> Self {
        Self {
            path: path.to_path_buf(),
            epoch: report.epoch,
            global_step: report.global_step,
            metrics: report.metrics.clone(),
            checksum: report.checksum.clone(),
            size_bytes: report.size_bytes,
        }
    }

    /// Reads the whole metadata: the environment, the tensors' digests, and why it was saved.
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
    pub(crate) saved: Vec<CheckpointInfo>,
    /// The new foremost checkpoint of strategies, by their names.
    pub(crate) best: Vec<(String, CheckpointInfo)>,
    pub(crate) deleted: Vec<CheckpointInfo>,
}

/// Collects events until they are taken.
///
/// The writer moves a link and deletes a file before it reports the save. What it has done with a checkpoint
/// that is not reported yet is told after the report.
#[derive(Debug, Default)]
pub(super) struct EventTracker {
    /// The checkpoints that are on disk, by their paths.
    present: HashMap<PathBuf, CheckpointInfo>,
    /// Files that were deleted and are not told yet.
    deleted: Vec<PathBuf>,
    /// The foremost checkpoint of each strategy when it was looked at last.
    leading: IndexMap<String, PathBuf>,
    events: CheckpointEvents,
}

impl EventTracker {
    /// Begins with the checkpoints of earlier starts, which are not news.
    pub(super) fn new<'a>(
        earlier: Vec<CheckpointInfo>,
        ledger: &mut Ledger,
        strategies: impl Iterator<Item = &'a str>,
    ) -> Self {
        let present = earlier.into_iter().map(|info| (info.path.clone(), info)).collect();
        let mut tracker = Self { present, ..Self::default() };
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
            for path in &report.paths {
                let saved = CheckpointInfo::of_report(path, report);
                self.present.insert(path.clone(), saved.clone());
                self.events.saved.push(saved);
            }
        }
        self.look_at(ledger, strategies);
    }

    fn look_at<'a>(&mut self, ledger: &mut Ledger, strategies: impl Iterator<Item = &'a str>) {
        for strategy in strategies {
            let first = ledger.top_ranked(strategy).and_then(|first| self.present.get(&first.path));
            let Some(first) = first else { continue };
            if self.leading.get(strategy) != Some(&first.path) {
                self.leading.insert(strategy.to_owned(), first.path.clone());
                self.events.best.push((strategy.to_owned(), first.clone()));
            }
        }
        self.deleted.extend(ledger.take_removed());
        self.deleted.retain(|path| match self.present.remove(path) {
            Some(deleted) => {
                self.events.deleted.push(deleted);
                false
            }
            None => true,
        });
    }

    pub(super) fn take(&mut self) -> CheckpointEvents {
        std::mem::take(&mut self.events)
    }
}
