//! The log of a run's metrics, `metrics.jsonl`: what is in it, and that it has no gap and no double after a
//! resume.

use std::path::Path;

use burn_ckpt::metrics_log::{self, Line, Scope, Split};
use system_tests::run_files::{run_dir, without_clock};

mod beginnings;
mod ends;
mod lines;
mod long_runs;
mod without_metric_files;

/// The lines of a run's log.
fn log(root: &Path) -> Vec<Line> {
    metrics_log::read(run_dir(root)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn of_batches(line: &&Line) -> bool {
    line.scope == Scope::Batch
}

/// A line in short: `b1.1` for the batch of step 1 in epoch 1 (burn's number), `v1.10` for a validation,
/// `e1.10` for an epoch.
fn in_short(line: &Line) -> String {
    let scope = match (line.scope, line.split) {
        (Scope::Batch, Split::Train) => "b",
        (Scope::Epoch, Split::Train) => "e",
        (Scope::Validation, Split::Valid) => "v",
        other => panic!("{other:?}"),
    };
    format!("{scope}{}.{}", line.epoch, line.step)
}

/// Two logs are the same but for the times of their lines, and how fast the runs were.
fn without_times(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|line| without_clock(line).to_string()).collect()
}
