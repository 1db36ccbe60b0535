//! The page about a run in its directory, `report.html`, which is written while the run trains.

mod page_thread;
mod status;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::train::LearnerModel;
use burn_ckpt::plumbing::{REPORT_FILE, panic_message};
use burn_ckpt::report::{ReportedRun, RunReport};
use burn_ckpt::{Error, chain};

use super::super::callback::Callback;
use super::super::context::CallbackContext;
use crate::error::CallbackResult;
use crate::process::console::warn;
use crate::saving::checkpoint_events::CheckpointInfo;
use page_thread::PageWriter;
pub(crate) use status::PageStatus;

/// The page of a run. Clones are of the same page.
#[derive(Clone)]
pub(crate) struct ReportPage {
    run_dir: PathBuf,
    writer: Arc<PageWriter>,
}

impl ReportPage {
    pub(crate) fn of_run(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_path_buf(), writer: Arc::default() }
    }

    fn start(&self) {
        let path = self.run_dir.join(REPORT_FILE);
        let run_dir = self.run_dir.clone();
        // The same failure is said once, and not at each epoch.
        let mut has_failed = false;
        let write = move |status: &PageStatus| {
            if let Err(reason) = write_page(&run_dir, &path, status) {
                let said = format!("the run has no page that is up to date: {reason}");
                if has_failed {
                    log::warn!("{said}")
                } else {
                    warn(&said)
                }
                has_failed = true;
            }
        };
        if let Err(error) = self.writer.start(write) {
            warn(&format!("the run has no page, as no thread can be started that writes it: {error}"));
        }
    }

    /// Writes the last page, with how the run ended. Does nothing for a run whose training has not begun.
    pub(crate) fn end(&self, status: PageStatus) {
        if !self.writer.end(status) {
            let path = self.run_dir.join(REPORT_FILE);
            warn(&format!(
                "{} is not complete yet, as the disk is slow: `burn-ckpt report {}` writes it",
                path.display(),
                self.run_dir.display()
            ));
        }
    }
}

/// # Errors
///
/// Why it cannot be written. A run that has nothing to show yet has no page, which is not an error.
fn write_page(run_dir: &Path, path: &Path, status: &PageStatus) -> Result<(), String> {
    let written = catch_unwind(AssertUnwindSafe(|| match ReportedRun::read(run_dir) {
        Err(Error::NothingToReport { .. }) => Ok(()),
        run => RunReport::new([run?.with_status(status.word, &*status.why)]).write(path).map(drop),
    }));
    match written {
        Ok(written) => written.map_err(|error| chain(&error)),
        Err(panic) => Err(format!("a panic: {}", panic_message(&*panic))),
    }
}

impl<M: LearnerModel> Callback<M> for ReportPage {
    fn name(&self) -> String {
        "report_page".to_owned()
    }

    fn on_fit_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.start();
        // A run that resumes has a page already, which says how its last start ended.
        self.writer.request();
        Ok(())
    }

    /// The end of an epoch, too: its values are in the log when all callbacks have seen it end.
    fn on_epoch_start(&mut self, _: &mut CallbackContext<'_, M>) -> CallbackResult {
        self.writer.request();
        Ok(())
    }

    fn on_checkpoint_saved(&mut self, _: &mut CallbackContext<'_, M>, _: &CheckpointInfo) -> CallbackResult {
        self.writer.request();
        Ok(())
    }
}
