//! What the writer has done, for the callbacks: checkpoints that are durable, that lead, and that are deleted.

use std::path::PathBuf;

use burn_ckpt::plumbing::{Ledger, SaveReport};
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::IndexMap;

use crate::callbacks::CheckpointSaved;
use crate::callbacks::checkpoints::CheckpointEvents;

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
