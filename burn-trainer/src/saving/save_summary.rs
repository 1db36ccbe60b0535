//! What became of a run's saves: kept for the result, and reported while training runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_ckpt::chain;
use burn_ckpt::plumbing::{SaveReport, is_there};
use jiff::Timestamp;

use super::checkpoint_events::CheckpointEvents;
use crate::process::console::{say, warn};
use crate::process::progress::figures::span;

/// What became of a run's saves.
#[derive(Debug, Default)]
pub(crate) struct SaveSummary {
    /// The last report, and those of failed saves.
    pub(crate) reports: Vec<SaveReport>,
    /// States that were saved, without those in `reports`.
    pub(crate) saved: u64,
    /// The newest paths that are durable, without those in `reports`.
    pub(crate) settled: Vec<PathBuf>,
    /// The longest save, from its begin until the checkpoint was durable.
    pub(crate) longest: Option<Duration>,
    /// The same of those that have ended since it was asked for last.
    pub(crate) newly_longest: Option<Duration>,
    /// Whether a state was not finite.
    pub(crate) has_non_finite: bool,
    /// What the callbacks were not told yet.
    pub(crate) events: CheckpointEvents,
    pub(crate) skipped: u64,
    pub(crate) replaced: u64,
    /// Whether the newest state that each strategy requested is on disk.
    pub(crate) newest_is_durable: bool,
    /// When the newest state was saved, possibly by an earlier process.
    pub(crate) newest_timestamp: Option<Timestamp>,
    /// Why a link leads to an older checkpoint than it should.
    pub(crate) unmoved_link: Option<burn_ckpt::Error>,
    /// Whether the writer was still writing when the run ended.
    pub(crate) unfinished: bool,
}

impl SaveSummary {
    /// Notes how saves ended, and logs it.
    pub(super) fn add(&mut self, reports: impl IntoIterator<Item = SaveReport>) {
        for report in reports {
            log_report(&report);
            if is_saved(&report) {
                self.longest = self.longest.max(Some(report.duration));
                self.newly_longest = self.newly_longest.max(Some(report.duration));
            }
            let is_first = !self.has_non_finite;
            self.has_non_finite |= report.non_finite.is_some();
            report_non_finite(&report, is_first);
            self.reports.push(report);
        }
    }

    /// The longest save of those that have ended since the last call.
    pub(super) fn take_longest(&mut self) -> Option<Duration> {
        self.newly_longest.take()
    }

    /// Where a state is that has a path reserved, if it is saved.
    pub(crate) fn saved_path(&self, reserved: &Path) -> Option<PathBuf> {
        let renamed = self.reports.iter().flat_map(|report| &report.renamed);
        let path =
            renamed.filter(|renamed| renamed.reserved == reserved).map(|renamed| &*renamed.path).next();
        let path = path.unwrap_or(reserved);
        // A path that this process reserved is there only if its save succeeded.
        is_there(path).unwrap_or(false).then(|| path.to_path_buf())
    }

    /// Whether a path is durable, or a better state is.
    pub(super) fn is_settled(&self, path: &PathBuf) -> bool {
        self.settled.contains(path) || self.reports.iter().any(|report| report.has_settled(path))
    }

    /// The number of states that were saved.
    pub(crate) fn count(&self) -> u64 {
        self.saved + self.reports.iter().filter(|report| is_saved(report)).count() as u64
    }

    /// Whether a file has the state of this step, as far as the reports that are kept say it.
    pub(crate) fn has_saved(&self, step: u64) -> bool {
        self.reports.iter().any(|report| report.global_step == step && has_file(report))
    }

    /// Whether the state of this step was not written, as its strategies had better ones by then, or was
    /// deleted again, as it is not finite and they have one that is.
    pub(crate) fn was_superseded(&self, step: u64) -> bool {
        let is_left_out = |report: &SaveReport| !has_file(report) && report.outcome.is_ok();
        self.reports.iter().any(|report| report.global_step == step && is_left_out(report))
    }

    /// Why a save of this step failed.
    pub(crate) fn failure_at(&self, step: u64) -> Option<&burn_ckpt::Error> {
        let of_step = self.reports.iter().filter(|report| report.global_step == step);
        of_step.filter_map(|report| report.outcome.as_ref().err()).next_back()
    }

    /// Gives up the reports of saves that went well, but for the last one: a run can save at each of very
    /// many epochs. `newest` are the paths of which it matters at the end whether they are durable.
    pub(super) fn forget_settled<'a>(&mut self, newest: impl Iterator<Item = &'a PathBuf>) {
        self.settled = newest.filter(|path| self.is_settled(path)).cloned().collect();
        let last = self.reports.len().saturating_sub(1);
        let mut place = 0;
        self.reports.retain(|report| {
            place += 1;
            let is_kept = report.outcome.is_err() || place > last;
            self.saved += u64::from(!is_kept && is_saved(report));
            is_kept
        });
    }
}

fn is_saved(report: &SaveReport) -> bool {
    report.outcome.is_ok() && !report.paths.is_empty()
}

/// Whether one of its files was written and not deleted since.
fn has_file(report: &SaveReport) -> bool {
    report.paths.iter().any(|path| is_there(path).unwrap_or(true))
}

/// Logs that a state is not finite. The first one is also printed on standard error: all that follow are like
/// it.
fn report_non_finite(report: &SaveReport, is_first: bool) {
    let Some(found) = &report.non_finite else { return };
    let message = format!(
        "the state of step {} has {found}: such a state is never the best one, auto does not resume from it, and no finite one is \
         deleted for it",
        report.global_step
    );
    match is_first {
        true => warn(&message),
        false => log::warn!("{message}"),
    }
}

/// Logs how a save ended. A failure is also printed on standard error.
fn log_report(report: &SaveReport) {
    match &report.outcome {
        Ok(()) if report.paths.is_empty() => {
            log::info!("step {} is not saved: a better state was saved meanwhile", report.global_step);
        }
        Ok(()) => {
            let bytes = report.size_bytes;
            let time = span(report.duration.as_secs_f64());
            log::info!("saved step {}: {bytes} bytes in {time}", report.global_step);
        }
        Err(error) => {
            let message = format!("saving step {} failed: {}", report.global_step, chain(error));
            log::error!("{message}");
            say(&format!("warning: {message}"));
        }
    }
    if let Some(error) = &report.follow_up {
        let message = format!(
            "after step {} was saved: {}. It is tried again with the next save, and at the end",
            report.global_step,
            chain(error)
        );
        warn(&message);
    }
}
