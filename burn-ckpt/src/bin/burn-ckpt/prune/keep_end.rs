//! How a run ended stays known where the checkpoint that says it is removed: the last line of the run's log
//! says it then, as it does for a run whose last state was not saved.

use std::path::Path;

use burn_ckpt::Checkpoint;
use burn_ckpt::metrics_log::{LoggedEnd, append_end, ended_by_log};
use burn_ckpt::plumbing::is_done;
use serde_json::Value;

use crate::ls::listing::{Listing, Row};
use crate::terminal::output::say;
use crate::terminal::printable::in_one_line;
use crate::verb_result::Failure;

/// Has the log say how the run ended, before `removed` are, if the newest checkpoint says it and is one of
/// them.
pub fn keep_end(run_dir: &Path, listing: &Listing, removed: &[&Row]) -> Result<(), Failure> {
    let newest = listing.rows.iter().rfind(|row| row.problem.is_none() && row.metadata.is_some());
    let Some(newest) = newest.filter(|newest| removed.iter().any(|row| row.path == newest.path)) else {
        return Ok(());
    };
    let Some(end) = end_in(&newest.path)? else { return Ok(()) };
    if ended_by_log(run_dir, end.step, end.time)?.is_some() || append_end(run_dir, &end)? {
        return Ok(());
    }
    say(format!(
        "note: only {} says how the run ended ({}), and the run has no log of metrics to keep that in",
        in_one_line(&listing.shown(&newest.path)),
        in_one_line(&end.ended)
    ));
    Ok(())
}

/// How the run ended, as far as a checkpoint says it.
fn end_in(path: &Path) -> Result<Option<LoggedEnd>, Failure> {
    let checkpoint = Checkpoint::open(path)?;
    let (metadata, state) = (checkpoint.metadata()?, checkpoint.trainer_state::<Value>()?);
    let done = is_done(&metadata, &state).then_some("done");
    let Some(ended) = state["ended"].as_str().or(done) else { return Ok(None) };
    let because = state["ended_because"].as_str();
    let end = LoggedEnd::new(ended, because, metadata.global_step, metadata.checkpoint_timestamp);
    Ok(Some(LoggedEnd { start: metadata.starts.last().map(|start| start.timestamp), ..end }))
}
