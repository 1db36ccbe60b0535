//! How far a run without a checkpoint is: what its log says, as the report reads it. The log has neither
//! hyperparameters nor settings.

use std::path::Path;

use burn_ckpt::metrics_log::{self, Line, METRICS_FILE, Scope};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Map;

use crate::runs::progress::{MetricValues, Progress};

/// The metric that ranks checkpoints unless the program names another one.
const USUAL_METRIC: &str = "val_loss";

/// The progress that the log of a run says. `None` for one without a log, or without a line of values: what
/// of it cannot be read is left out.
pub fn logged_progress(run_dir: &Path) -> Option<Progress> {
    let lines = metrics_log::read(run_dir.join(METRICS_FILE)).ok()?;
    let mut logged = Logged::default();
    lines.filter_map(Result::ok).for_each(|line| logged.add(line));
    let Logged { epochs, steps, metrics, seconds, first, .. } = logged;
    let primary = metrics.contains_key(USUAL_METRIC).then(|| USUAL_METRIC.to_owned());
    logged.has_lines.then(|| Progress {
        epochs,
        steps,
        seconds,
        metrics,
        primary,
        started: first,
        max_epochs: None,
        ended_because: None,
        items_per_second: None,
        saved: None,
        best_checkpoint: None,
        hparams: Map::new(),
        settings: Map::new(),
    })
}

/// What the lines say up to one of them.
#[derive(Default)]
struct Logged {
    has_lines: bool,
    epochs: u64,
    steps: u64,
    seconds: f64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    metrics: IndexMap<String, MetricValues>,
}

impl Logged {
    fn add(&mut self, line: Line) {
        self.has_lines = true;
        self.steps = self.steps.max(line.step);
        if let Some(time) = line.time {
            self.first.get_or_insert(time);
            // A clock that was set back adds nothing.
            let since = self.last.replace(time).map_or(0.0, |last| time.duration_since(last).as_secs_f64());
            self.seconds += since.max(0.0);
        }
        if line.scope == Scope::Batch {
            return;
        }
        if line.scope == Scope::Epoch {
            self.epochs = line.epoch.saturating_add(1);
        }
        for (name, value) in line.metrics {
            self.metrics.insert(name, MetricValues { newest: value, best: None });
        }
    }
}
