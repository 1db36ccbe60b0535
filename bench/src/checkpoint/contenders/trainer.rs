//! The trainer, with two strategies that save the same states, one as best and one as last.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use burn::optim::ModuleOptimizer;
use burn::train::Interrupter;
use burn::train::metric::LossMetric;
use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::{BEST_DIR, LAST_DIR};
use burn_ckpt::retention::{KeepRule, MetricMode, TopK};
use burn_trainer::config::WhenBusy;
use burn_trainer::strategy::{CheckpointOutput, RunProgress, SaveDecision, Strategy, TrainingEvent};
use burn_trainer::{FitResult, Trainer, TrainerConfig};
use parking_lot::{Mutex, MutexGuard};

use crate::checkpoint::measurement::{Measurement, Moment, SaveTimes, Steady, WARM_UP, median, moment, now};
use crate::checkpoint::task::Task;
use crate::measure::stopwatch::named_at;
use crate::program::Result;

use super::training_model::{Clocked, Layers, LayersHparams, Moments, learner, loader};

/// Optimizer steps between the moment when a save is durable and the next save.
pub const APART: u64 = 4;
/// Undisturbed steps before the first of frequent saves.
const QUIET: u64 = 8;
/// The run's name.
const RUN: &str = "run";

/// When to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// [`APART`] steps after the save before is durable.
    Apart,
    /// Every so many steps, whether the save before is durable or not.
    Every(u64),
}

/// Where the newest checkpoint of a contender's run is.
#[must_use]
pub fn newest(dir: &Path) -> PathBuf {
    RunLayout::new(dir, burn_ckpt::plumbing::DEFAULT_LOGS, RUN)
        .map_or_else(|_| dir.to_path_buf(), |layout| layout.checkpoint_dir().join("last.ckpt"))
}

/// Trains and saves as the task says.
///
/// # Errors
///
/// Those of the trainer, and files that are not there.
pub fn train(
    task: &Task,
    optimizer: ModuleOptimizer,
    pace: Pace,
    when_busy: WhenBusy,
) -> Result<Measurement> {
    let plan = SavePlan::shared(task, pace);
    let directories: &[&str] = if task.saves > 0 { &[BEST_DIR, LAST_DIR] } else { &[LAST_DIR] };
    let strategies = directories.iter().map(|directory| plan.strategy(directory));
    // Training ends when the plan says so.
    let interrupter = plan.lock().interrupter.clone();
    let (result, moments) = fit(task, optimizer, when_busy, interrupter, strategies)?;
    if let Some((step, error)) = result.failed_saves.first() {
        return Err(format!("the save after step {step} failed: {}", burn_ckpt::chain(error)).into());
    }
    let mut plan = plan.lock();
    plan.see_what_is_durable(&result.run_dir);
    plan.measurement(&moments, result.skipped_saves + result.replaced_saves)
}

/// Trains the case's job in the trainer, with these strategies, until it is interrupted.
///
/// # Errors
///
/// Those of the trainer.
pub fn fit<S: Strategy + 'static>(
    task: &Task,
    optimizer: ModuleOptimizer,
    when_busy: WhenBusy,
    interrupter: Interrupter,
    strategies: impl IntoIterator<Item = S>,
) -> Result<(FitResult<Clocked<Layers>>, Moments)> {
    let config = TrainerConfig::new().with_root(&task.dir).with_run_id(RUN);
    let config = config.with_handle_signals(false).with_when_busy(when_busy);
    let trainer = Trainer::new(config, &LayersHparams::of(&task.case))?;
    let trainer = strategies.into_iter().fold(trainer, Trainer::strategy);
    let training = trainer
        .training(loader(&task.case, usize::MAX / 2), loader(&task.case, 1))
        .metrics((LossMetric::new(),))
        .with_interrupter(interrupter);
    let (learner, clock) = learner(&task.case, optimizer);
    let result = trainer.fit(training, learner)?;
    Ok((result, clock.moments()))
}

/// When to save, and what was saved; both strategies share it.
struct SavePlan {
    pace: Pace,
    wanted: usize,
    quiet_steps: u64,
    interrupter: Interrupter,
    run_dir: PathBuf,
    /// When the decision after each step was made.
    decided: BTreeMap<u64, Moment>,
    asked: Vec<RequestedSave>,
    /// The latest decision: the step, and whether it is saved.
    answer: Option<(u64, bool)>,
    ended: bool,
}

struct RequestedSave {
    step: u64,
    at: Moment,
    durable: Option<Moment>,
    /// The step after which it was seen to be durable.
    seen: u64,
    bytes: u64,
    idle: bool,
}

#[derive(Clone)]
struct SharedPlan(Arc<Mutex<SavePlan>>);

impl SavePlan {
    fn shared(task: &Task, pace: Pace) -> SharedPlan {
        let run_dir = task.dir.join(burn_ckpt::plumbing::DEFAULT_LOGS).join(RUN);
        SharedPlan(Arc::new(Mutex::new(Self {
            pace,
            wanted: task.saves,
            quiet_steps: task.quiet_steps(),
            interrupter: Interrupter::new(),
            run_dir,
            decided: BTreeMap::new(),
            asked: Vec::new(),
            answer: None,
            ended: false,
        })))
    }

    /// Whether the state after a step is saved. Both strategies call this, one after the other.
    fn saves_after(&mut self, step: u64) -> bool {
        if let Some((_, answer)) = self.answer.filter(|(asked, _)| *asked == step) {
            return answer;
        }
        let at = now();
        self.decided.insert(step, at);
        let saves = self.is_due(step);
        if saves {
            self.ask(step, at, false);
        }
        self.answer = Some((step, saves));
        saves
    }

    fn is_due(&mut self, step: u64) -> bool {
        let first = WARM_UP as u64 + APART;
        let done = self.asked.len() >= self.wanted;
        match self.pace {
            Pace::Apart => {
                let run_dir = self.run_dir.clone();
                self.see_what_is_durable(&run_dir);
                let last = self.asked.last();
                let durable = last.is_none_or(|last| last.durable.is_some());
                let since = last.map_or(step.saturating_sub(first), |last| step - step.min(last.seen));
                if done && durable && since >= APART && step >= first + self.quiet_steps {
                    self.interrupter.stop(Some("everything is measured"));
                }
                !done && step >= first && durable && (self.asked.is_empty() || since >= APART)
            }
            Pace::Every(steps) => {
                let first = first + QUIET;
                if done {
                    self.interrupter.stop(Some("everything is measured"));
                }
                !done && step >= first && (step - first).is_multiple_of(steps)
            }
        }
    }

    fn ask(&mut self, step: u64, at: Moment, idle: bool) {
        self.asked.push(RequestedSave { step, at, durable: None, seen: step, bytes: 0, idle });
    }

    /// Notes when the requested files got their second name. Nothing else is done to a file until one of its
    /// names is deleted after a later save.
    fn see_what_is_durable(&mut self, run_dir: &Path) {
        let now = self.decided.last_key_value().map_or(0, |(step, _)| *step);
        for asked in self.asked.iter_mut().filter(|asked| asked.durable.is_none()) {
            let file = |directory: &str| {
                run_dir.join("checkpoint").join(directory).join(format!("{}.ckpt", asked.step))
            };
            let Ok(named) = file(BEST_DIR).metadata() else { continue };
            if file(LAST_DIR).exists() {
                // The second link may be newer than the metadata that was read before.
                let named = file(LAST_DIR).metadata().unwrap_or(named);
                (asked.durable, asked.seen, asked.bytes) = (Some(changed(&named)), now, named.len());
            }
        }
    }

    fn measurement(&self, moments: &Moments, skipped: u64) -> Result<Measurement> {
        let begins = &moments.begins;
        // From a decision to the beginning of the next step: the save, and what the loop does there without
        // one.
        let gap = |step: u64| {
            let begin = begins.get(usize::try_from(step).ok()?)?;
            Some(begin - self.decided.get(&step)?)
        };
        let saved = |step: &u64| self.asked.iter().any(|asked| asked.step == *step);
        let steps = || self.decided.keys().copied().filter(|step| *step > WARM_UP as u64);
        let usual: Vec<f64> = steps().filter(|step| !saved(step)).filter_map(gap).collect();
        let usual = median(&usual).unwrap_or_default();
        let mut measured = Measurement { begins: begins.clone(), ..Measurement::default() };
        for asked in &self.asked {
            let Some(durable) = asked.durable else { continue };
            let call = gap(asked.step).map_or(0.0, |gap| (gap - usual).max(0.0));
            let times = SaveTimes { asked: asked.at, returned: asked.at + call, durable };
            if asked.idle {
                measured.idle = Some(times);
            } else {
                measured.saves.push(times);
            }
            measured.bytes = Some(asked.bytes);
        }
        if let Pace::Every(every) = self.pace {
            measured.steady = Some(self.steady(begins, every, skipped)?);
            // Most of these files are deleted before their times can be read.
            measured.saves = Vec::new();
        } else if self.asked.iter().any(|asked| asked.durable.is_none()) {
            return Err("a requested checkpoint is missing".into());
        }
        Ok(measured)
    }

    /// Counted from the third save on: by then one is being written and one is queued.
    fn steady(&self, begins: &[Moment], every: u64, skipped: u64) -> Result<Steady> {
        let saves: Vec<usize> =
            self.asked.iter().filter(|asked| !asked.idle).map(|asked| asked.step as usize).collect();
        let few = "there were too few saves one after the other";
        let (first, last) = (*saves.get(2).ok_or(few)?, *saves.last().ok_or(few)?);
        let step = |index: usize| Some(begins.get(index + 1)? - begins.get(index)?);
        let quiet: Vec<f64> = (WARM_UP..saves[0] - 1).filter_map(step).collect();
        let quiet = median(&quiet).ok_or(few)?;
        // The step after a save begins when it was handed over.
        let took = begins.get(last - 1).ok_or(few)? - begins.get(first - 1).ok_or(few)?;
        let counted = saves.len() - 3;
        if counted == 0 {
            return Err(few.into());
        }
        let lost = (took - (last - first) as f64 * quiet) / counted as f64;
        Ok(Steady { every, saves: counted, step: quiet, lost, skipped })
    }
}

impl SharedPlan {
    fn lock(&self) -> MutexGuard<'_, SavePlan> {
        self.0.lock()
    }

    fn strategy(&self, directory: &'static str) -> EveryState {
        EveryState { plan: self.clone(), directory }
    }
}

/// A strategy that saves every state of the plan into one directory.
struct EveryState {
    plan: SharedPlan,
    directory: &'static str,
}

impl Strategy for EveryState {
    fn name(&self) -> String {
        self.directory.to_owned()
    }

    fn keep(&self) -> KeepRule {
        let one = TopK::Count(1);
        if self.directory == BEST_DIR { KeepRule::Best(MetricMode::Max, one) } else { KeepRule::Newest(one) }
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(self.directory)
            .with_filename("{step}")
            .with_link(if self.directory == BEST_DIR { "best_loss" } else { "last" })
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        let mut plan = self.plan.lock();
        let saves = match event {
            TrainingEvent::StepEnd => plan.saves_after(progress.step),
            // The last measurement: a save that the loop waits for.
            TrainingEvent::Interrupted(_) if plan.wanted > 0 && plan.pace == Pace::Apart => {
                if !std::mem::replace(&mut plan.ended, true) {
                    plan.ask(progress.step, now(), true);
                }
                true
            }
            _ => false,
        };
        match saves {
            // Each state is better than those before.
            true => SaveDecision::Save { score: progress.step as f64, reason: "measured".to_owned() },
            false => SaveDecision::Skip,
        }
    }
}

/// When a file was last renamed or linked.
fn changed(file: &Metadata) -> Moment {
    moment(named_at(file).unwrap_or(SystemTime::UNIX_EPOCH))
}
