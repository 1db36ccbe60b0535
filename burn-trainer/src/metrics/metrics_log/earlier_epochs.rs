//! The early epochs of a long run are not in its checkpoints, as their values are in the run's log. A run
//! that resumes reads them there.

use std::path::Path;

use burn_ckpt::metrics_log::{self, LogMark, METRICS_FILE};
use burn_ckpt::plumbing::run_of_checkpoint;

use crate::metrics::history_format::History;
use crate::process::console::note;

/// Adds what the checkpoint has left to the log: that of the run in this directory, or of the checkpoint's
/// own run. Without it those epochs have no values, which is said.
pub(crate) fn add_earlier_epochs(
    history: &mut History,
    mark: Option<&LogMark>,
    checkpoint: &Path,
    run_dir: &Path,
    writes: bool,
) {
    let missing = history.left_to_log();
    if missing == 0 {
        return;
    }
    let of_checkpoint = run_of_checkpoint(checkpoint).map(|run| run.run_dir().to_path_buf());
    let runs = std::iter::once(run_dir.to_path_buf()).chain(of_checkpoint);
    let found =
        mark.and_then(|mark| runs.map(|run| run.join(METRICS_FILE)).find_map(|log| lines(&log, mark)));
    match found {
        Some(lines) => history.add_logged(lines.filter_map(Result::ok)),
        None if writes => note(&format!(
            "the values of the first {missing} epochs are unknown: {} leaves them to the {METRICS_FILE} of its run, which is not \
             there. Curves lack them, and so does an early stopping that looks so far back",
            checkpoint.display()
        )),
        None => {}
    }
}

/// The lines of a log up to a mark, if it has them.
fn lines(log: &Path, mark: &LogMark) -> Option<metrics_log::Lines> {
    if !mark.is_in(log).unwrap_or(false) {
        return None;
    }
    Some(metrics_log::read(log).ok()?.until(mark).of_epochs())
}
