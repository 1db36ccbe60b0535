//! How the trainer shows progress: on burn's dashboard where that is wanted and can be drawn, as plain lines
//! elsewhere, or not at all.

use std::collections::HashSet;
use std::error::Error;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricEntry, MetricId, SerializedEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn::train::{Interrupter, LearnerSummary};

use super::epochs_table::{EarlierEpochs, EpochsTable};
use super::progress_mode::ProgressMode;
use super::shown_speed::{DashboardSpeed, SpeedSource};
use super::shown_warnings::ShownWarnings;
use super::terminal_width::terminal_width;
use crate::process::console::{PlainRenderer, ResumedBatches, say, warn};
use crate::process::dashboard::{Dashboard, Ended};
use crate::process::run_output::OutputHandle;
use crate::validation_sets::ValidationSets;

/// The interrupter of the run, which is known when training starts.
pub(crate) type RunInterrupter = Arc<OnceLock<Interrupter>>;

/// The renderer that [`Trainer::training`](crate::Trainer::training) sets.
pub(crate) struct ProgressDisplay {
    /// Sees every event, so that its lines are right when the dashboard fails in the middle of a split.
    lines: PlainRenderer,
    dashboard: Option<Dashboard>,
    /// Whether to try the dashboard when training starts.
    wants_dashboard: bool,
    /// Metrics that were registered before the dashboard was drawn.
    definitions: Vec<MetricDefinition>,
    interrupter: RunInterrupter,
    speed: DashboardSpeed,
    warnings: ShownWarnings,
    /// Those of the run, once the dashboard was drawn, also after it has ended.
    epochs: EpochsTable,
    earlier: EarlierEpochs,
    /// Whether there was a dashboard.
    has_drawn: bool,
    run_dir: PathBuf,
    output: OutputHandle,
    /// The metrics whose values on the named validation sets have their place on the dashboard.
    placed: HashSet<MetricId>,
    sets: ValidationSets,
}

impl ProgressDisplay {
    /// Shows nothing before training starts. `run_dir` is the run's directory, and `batches` is how many of
    /// the first epoch were trained before the resume.
    pub(crate) fn new(
        progress: ProgressMode,
        run_dir: PathBuf,
        batches: ResumedBatches,
        interrupter: RunInterrupter,
        speed: SpeedSource,
        earlier: EarlierEpochs,
        sets: ValidationSets,
    ) -> Self {
        let mut lines = PlainRenderer::resumed(batches).with_speed(speed);
        lines.set_hidden(!progress.is_on());
        let wants_dashboard = match progress {
            ProgressMode::Auto => cfg!(feature = "tui") && stdout().is_terminal(),
            ProgressMode::Dashboard => true,
            ProgressMode::Plain | ProgressMode::Off => false,
        };
        Self {
            lines,
            dashboard: None,
            wants_dashboard,
            definitions: Vec::new(),
            interrupter,
            speed: DashboardSpeed::new(),
            warnings: ShownWarnings::default(),
            epochs: EpochsTable::default(),
            earlier,
            has_drawn: false,
            run_dir,
            output: OutputHandle::of_this_thread(),
            placed: HashSet::new(),
            sets,
        }
    }

    /// Draws the dashboard of a run with some epochs done.
    fn open_dashboard(&mut self, completed: usize) {
        if !std::mem::take(&mut self.wants_dashboard) {
            return;
        }
        match Dashboard::open(completed) {
            Ok(mut dashboard) => {
                for definition in self.definitions.drain(..).chain(DashboardSpeed::definitions()) {
                    dashboard.draw(|burns| burns.register_metric(definition));
                }
                self.lines.set_hidden(true);
                self.dashboard = Some(dashboard);
                self.has_drawn = true;
                self.note_earlier(completed);
            }
            Err(reason) => warn(&format!("no dashboard, progress is shown as lines: {reason}")),
        }
    }

    /// Puts the epochs of earlier processes of the run into the table.
    fn note_earlier(&mut self, completed: usize) {
        let Self { epochs, lines, earlier, .. } = self;
        epochs.add_earlier(completed, |epoch, is_training| {
            let of_split = earlier(epoch).into_iter().filter(|it| it.is_training == is_training);
            of_split.filter_map(|it| Some((lines.heading(&it.metric)?, it.value))).collect()
        });
    }

    /// Begins to show a metric.
    fn show_metric(&mut self, definition: MetricDefinition) {
        self.lines.register_metric(definition.clone());
        match &self.dashboard {
            Some(_) => self.draw(|burns| burns.register_metric(definition)),
            None => self.definitions.push(definition),
        }
    }

    /// burn lists metrics in the order in which they get a value, and cuts the list where the terminal ends.
    /// So a metric on the named validation sets gets a place below the metric itself before it has a value.
    fn place_sets_below(&mut self, metric: MetricId) {
        if self.dashboard.is_none() || self.placed.contains(&metric) {
            return;
        }
        for metric_id in self.sets.on_sets(&metric) {
            let no_value = MetricEntry::new(metric_id, SerializedEntry::new("-".to_owned(), String::new()));
            self.draw(|burns| burns.update_valid(MetricState::Generic(no_value)));
        }
        self.placed.insert(metric);
    }

    /// Shows the speed of training on the dashboard, once a second.
    fn draw_speed(&mut self) {
        if self.dashboard.is_some()
            && let Some(speed) = self.lines.speed()
            && self.speed.is_due()
        {
            self.draw(|burns| DashboardSpeed::draw(&speed, burns));
        }
    }

    /// The dashboard takes its numbers with it.
    fn print_epochs(&self) {
        let log = format!("burn-ckpt log {}", self.run_dir.display());
        self.epochs.lines(terminal_width(), &log).iter().for_each(|line| say(line));
    }

    /// Passes an event to the dashboard, as long as there is one.
    fn draw(&mut self, event: impl FnOnce(&mut dyn MetricsRenderer)) {
        let Some(dashboard) = &mut self.dashboard else { return };
        if let Some(ended) = dashboard.has_ended() {
            self.dashboard = None;
            self.lines.set_hidden(false);
            if !matches!(ended, Ended::GaveWay) {
                // Lines come next, of later epochs alone.
                self.print_epochs();
            }
            match ended {
                Ended::Failed(reason) => {
                    warn(&format!("the dashboard has failed, progress is shown as lines now: {reason}"));
                }
                Ended::Suspended => say("progress is shown as lines now: the program was suspended"),
                Ended::GaveWay => {}
            }
            return;
        }
        dashboard.draw(event);
        if let Some(warnings) = self.warnings.due() {
            dashboard.draw(|burns| self.warnings.draw(warnings, burns));
        }
        if let (Some(reason), Some(interrupter)) = (dashboard.take_stop(), self.interrupter.get()) {
            interrupter.stop(reason.as_deref());
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.dashboard = None;
        self.print_epochs();
    }
}

impl MetricsRendererTraining for ProgressDisplay {
    fn update_train(&mut self, state: MetricState) {
        self.lines.update(&state);
        let (MetricState::Generic(entry) | MetricState::Numeric(entry, _)) = &state;
        let metric = entry.metric_id.clone();
        self.draw(|burns| burns.update_train(state));
        self.place_sets_below(metric);
    }

    fn update_valid(&mut self, state: MetricState) {
        let Some(state) = self.sets.rename_state(state) else { return };
        self.lines.update(&state);
        self.draw(|burns| burns.update_valid(state));
    }

    fn on_train_end(&mut self, summary: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        let mut summary = Some(summary);
        self.draw(|burns| {
            // burn's only sends an event.
            let _ = burns.on_train_end(summary.take().flatten());
        });
        summary.map_or(Ok(()), |summary| self.lines.on_train_end(summary))
    }
}

impl TrainingProgressLogger for ProgressDisplay {
    fn start(&mut self, epochs: usize, epoch: usize, items: Option<usize>, label: Option<&str>) {
        // The thread is burn's.
        self.output.set_for_thread();
        self.open_dashboard(epoch.saturating_sub(1));
        self.warnings.start(epochs, epoch, label);
        TrainingProgressLogger::start(&mut self.lines, epochs, epoch, items, label);
        self.draw(|burns| burns.start(epochs, epoch, items, label));
    }

    fn start_split(&mut self, split: &str, items: usize) {
        self.lines.start_split(split, items);
        self.draw(|burns| burns.start_split(split, items));
    }

    fn update_split(&mut self, done: usize) {
        self.lines.update_split(done);
        self.draw(|burns| burns.update_split(done));
        self.draw_speed();
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.lines.update_epoch(epoch);
        self.warnings.update_epoch(epoch + 1);
        self.draw(|burns| burns.update_epoch(epoch));
    }

    fn end_split(&mut self) {
        if self.has_drawn {
            self.epochs.add(self.lines.split_values());
        }
        self.draw(|burns| burns.end_split());
        self.lines.end_split();
    }

    fn end(&mut self) {
        self.draw(|burns| burns.end());
    }

    fn log_event_training(&mut self, event: String) {
        self.draw(|burns| burns.log_event_training(event));
    }
}

impl MetricsRendererEvaluation for ProgressDisplay {
    fn update_test(&mut self, name: EvaluationName, state: MetricState) {
        self.lines.update(&state);
        self.draw(|burns| burns.update_test(name, state));
    }

    fn on_test_end(&mut self, summary: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        let mut summary = Some(summary);
        self.draw(|burns| {
            let _ = burns.on_test_end(summary.take().flatten());
        });
        summary.map_or(Ok(()), |summary| self.lines.on_test_end(summary))
    }
}

impl EvaluationProgressLogger for ProgressDisplay {
    fn start_global_progress(&mut self, tests: usize) {
        self.lines.start_global_progress(tests);
        self.draw(|burns| burns.start_global_progress(tests));
    }

    fn start_test(&mut self, name: &str, items: usize) {
        self.lines.start_test(name, items);
        self.draw(|burns| burns.start_test(name, items));
    }

    fn update_test_progress(&mut self, done: usize) {
        self.lines.update_test_progress(done);
        self.draw(|burns| burns.update_test_progress(done));
    }

    fn end_test(&mut self) {
        self.draw(|burns| burns.end_test());
        self.lines.end_test();
    }

    fn end_global_progress(&mut self) {
        self.draw(|burns| burns.end_global_progress());
    }

    fn log_event_evaluation(&mut self, event: String) {
        self.draw(|burns| burns.log_event_evaluation(event));
    }
}

impl MetricsRenderer for ProgressDisplay {
    fn manual_close(&mut self) {
        self.draw(|burns| burns.manual_close());
        // It returns when the user has closed it.
        self.dashboard = None;
    }

    fn register_metric(&mut self, definition: MetricDefinition) {
        let on_sets = self.sets.register(&definition);
        self.show_metric(definition);
        on_sets.into_iter().for_each(|on_set| self.show_metric(on_set.definition));
    }
}
