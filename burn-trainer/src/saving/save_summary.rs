//! What became of a run's saves: kept for the result, and reported while training runs.

use burn_ckpt::chain;
use burn_ckpt::plumbing::SaveReport;

use super::checkpoint_events::CheckpointEvents;
use crate::process::console::say;
use crate::process::progress::figures::exact_time;

/// What became of a run's saves.
#[derive(Debug, Default)]
pub(crate) struct SaveSummary {
    pub(crate) reports: Vec<SaveReport>,
    /// What the callbacks were not told yet.
    pub(crate) events: CheckpointEvents,
    pub(crate) skipped: u64,
    pub(crate) replaced: u64,
    /// Whether the newest state that each strategy requested is on disk.
    pub(crate) newest_is_durable: bool,
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
            let is_first = self.reports.iter().all(|earlier| earlier.non_finite.is_none());
            report_non_finite(&report, is_first);
            self.reports.push(report);
        }
    }
}

/// Logs that a state is not finite. The first one is also printed on standard error: all that follow are like it.
fn report_non_finite(report: &SaveReport, is_first: bool) {
    let Some(found) = &report.non_finite else { return };
    let message = format!(
        "the state of step {} has {found}: such a state is never the best one, auto does not resume from it, and no finite one is \
         deleted for it",
        report.global_step
    );
    log::warn!("{message}");
    if is_first {
        say(&format!("warning: {message}"));
    }
}

/// Logs how a save ended. A failure is also printed on standard error.
fn log_report(report: &SaveReport) {
    match &report.outcome {
        Ok(_) if report.paths.is_empty() => {
            log::info!("step {} is not saved: a better state was saved meanwhile", report.global_step);
        }
        Ok(bytes) => {
            let time = exact_time(report.duration);
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
        log::warn!("{message}");
        say(&format!("warning: {message}"));
    }
}
