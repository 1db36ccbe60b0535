//! The page about a run, `report.html`, if the configuration asks for it: its callback, and what its last
//! version says of the run's end.

use std::path::Path;

use burn::train::LearnerModel;

use crate::callbacks::registered::Callbacks;
use crate::config::TrainerConfig;
use crate::error::Result;
use crate::result::FitResult;

/// The page of one call of `fit`. Without the feature `report` there is none: the check of the configuration
/// says so.
pub(super) struct RunPage {
    #[cfg(feature = "report")]
    page: Option<crate::callbacks::built_in::report::ReportPage>,
}

#[cfg(feature = "report")]
impl RunPage {
    /// Adds the page's callback to those of the run. Only the process that writes has one.
    pub(super) fn of_run<M: LearnerModel>(
        config: &TrainerConfig,
        run_dir: &Path,
        callbacks: &mut Callbacks<M>,
    ) -> Self {
        use crate::callbacks::built_in::report::ReportPage;
        let page = (config.report && config.writes()).then(|| ReportPage::of_run(run_dir));
        page.iter().for_each(|page| callbacks.add(Box::new(page.clone())));
        Self { page }
    }

    /// Writes the last page, while the run is still locked.
    pub(super) fn end<M>(self, ended: &Result<FitResult<M>>) {
        self.page.iter().for_each(|page| page.end(status_of(ended)));
    }
}

/// What the page says of the end, in the words of `burn-ckpt runs`.
#[cfg(feature = "report")]
fn status_of<M>(ended: &Result<FitResult<M>>) -> crate::callbacks::built_in::report::PageStatus {
    use crate::callbacks::built_in::report::PageStatus;
    use crate::state::end_reason::{EndReason, RunOutcome};
    let result = match ended {
        Ok(result) => result,
        Err(error) => return PageStatus::new("failed", burn_ckpt::chain(error)),
    };
    let (word, why) = match &result.outcome {
        RunOutcome::Done(reason) => ("done", reason.as_ref().map(EndReason::named)),
        RunOutcome::Stopped { reason, .. } => ("stopped", Some(reason.clone())),
        RunOutcome::Failed(error) => ("failed", Some(error.clone())),
    };
    let unsaved = result.last_save_failed.then(|| "its last state is not saved".to_owned());
    let reasons: Vec<String> = why.into_iter().chain(unsaved).collect();
    PageStatus::new(word, reasons.join("; "))
}

#[cfg(not(feature = "report"))]
impl RunPage {
    pub(super) fn of_run<M: LearnerModel>(_: &TrainerConfig, _: &Path, _: &mut Callbacks<M>) -> Self {
        Self {}
    }

    pub(super) fn end<M>(self, _: &Result<FitResult<M>>) {}
}
