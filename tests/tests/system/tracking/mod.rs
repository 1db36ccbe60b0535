//! Trackers: they get what a run logs, each line once, whatever happens to the run or to them, and never slow
//! or end it.

use std::sync::Arc;

use burn_ckpt::metrics_log::{self, Line};
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{RunEnd, RunInfo};
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::trackers::{StartAt, Tracker, TrackerError, TrackerResult};
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use system_tests::config;
use system_tests::run_files::run_dir;

mod csv;
mod failures;
mod lines;

/// What a tracker was told, in all processes of a run.
#[derive(Debug, Default)]
struct Told {
    starts: Vec<(RunInfo, Option<Value>)>,
    lines: Vec<Line>,
    ends: Vec<RunEnd>,
}

/// A tracker that notes what it is told.
#[derive(Default)]
struct Recorder {
    told: Arc<Mutex<Told>>,
    start_at: Option<StartAt>,
    /// Whether a call of `log` fails.
    fails: Option<Fails>,
}

type Fails = Box<dyn FnMut() -> Option<TrackerError> + Send>;

impl Recorder {
    fn of(told: &Arc<Mutex<Told>>) -> Self {
        Self { told: Arc::clone(told), ..Self::default() }
    }

    fn failing(self, fails: impl FnMut() -> Option<TrackerError> + Send + 'static) -> Self {
        Self { fails: Some(Box::new(fails)), ..self }
    }
}

impl Tracker for Recorder {
    fn name(&self) -> String {
        "recorder".to_owned()
    }

    fn start(&mut self, run: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        self.told.lock().starts.push((run.clone(), state));
        Ok(self.start_at.unwrap_or(StartAt::FirstUnsent))
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        // It may hang in there, and the test looks at what it was told.
        if let Some(error) = self.fails.as_mut().and_then(|fails| fails()) {
            return Err(error);
        }
        self.told.lock().lines.extend_from_slice(lines);
        Ok(())
    }

    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        self.told.lock().ends.push(end.clone());
        Ok(())
    }

    fn state(&self) -> Option<Value> {
        Some("its id".into())
    }
}

/// The lines of a run's log.
fn log(root: &Path) -> Vec<Line> {
    metrics_log::read(run_dir(root)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Lines as they stand in the log, but for their times: a line that was logged again has another.
fn without_times(lines: &[Line]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.iter_mut().for_each(|line| line.time = None);
    lines.iter().map(Line::to_string).collect()
}

/// A run of 10 steps an epoch that saves every 4 steps, and nothing when it fails.
fn saving_every_4_steps(root: &Path, epochs: usize) -> TrainerConfig {
    let last = StrategyConfig::Last(Last::new().with_every_n_steps(4));
    config(root, epochs).with_strategies([last])
}
