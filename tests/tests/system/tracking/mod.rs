//! Trackers: they get what a run logs, each line once, whatever happens to the run or to them, and never slow
//! or end it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn_ckpt::metrics_log::{self, Line};
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{RunEnd, RunInfo};
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::trackers::{StartAt, Tracker, TrackerCallback, TrackerError, TrackerResult};
use parking_lot::Mutex;
use serde_json::Value;
use system_tests::config;
use system_tests::run_files::{run_dir, without_clock};

mod branches;
mod catching_up;
mod failures;
mod files;
mod gaps;
mod lines;
mod mlflow;
mod mlflow_failures;
mod mlflow_resumes;
mod names;
mod post_json;

/// What a tracker was told, in all processes of a run.
#[derive(Debug, Default)]
struct Told {
    starts: Vec<(RunInfo, Option<Value>)>,
    lines: Vec<Line>,
    branches: Vec<Line>,
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

    fn branch(&mut self, first: &Line) -> TrackerResult {
        self.told.lock().branches.push(first.clone());
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

/// The tracker as a callback for which the end of the run waits however busy the machine is.
fn patient<T: Tracker>(tracker: T) -> TrackerCallback<T> {
    TrackerCallback::new(tracker).with_wait_at_end(Duration::from_mins(10))
}

/// The lines of a run's log.
fn log(root: &Path) -> Vec<Line> {
    metrics_log::read(run_dir(root)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Lines as they stand in the log, but for their times and speeds: a line that was logged again has others.
fn without_times(lines: &[Line]) -> Vec<String> {
    lines.iter().cloned().map(|line| without_clock(line).to_string()).collect()
}

/// A run of 10 steps an epoch that saves every 4 steps, and nothing when it fails.
fn saving_every_4_steps(root: &Path, epochs: usize) -> TrainerConfig {
    let last = StrategyConfig::Last(Last::new().with_every_n_steps(4));
    config(root, epochs).with_strategies([last])
}
