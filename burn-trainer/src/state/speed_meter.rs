//! Measures how fast the loop trains, with the run's clock.

use std::sync::Arc;
use std::time::Duration;

use burn_ckpt::metrics_log::LineSpeed;
use parking_lot::Mutex;
use serde_json::Value;

use super::run_clock::RunClock;
use crate::process::progress::shown_speed::ShownSpeed;
use crate::run_speed::RunSpeed;

/// Measures one call of `fit`. Shared with those who show the speed.
#[derive(Clone, Default)]
pub(crate) struct SpeedMeter(Arc<Mutex<Option<(RunClock, Measured)>>>);

/// What is measured beside the training of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Saving,
    Validating,
}

/// The training of an epoch, or of its rest, as it begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SplitPlan {
    /// Items that were done before.
    pub(crate) items_before: u64,
    /// Items of the epoch; 0 if that is unknown.
    pub(crate) total_items: u64,
    /// Epochs that are left, this one included.
    pub(crate) epochs_left: u64,
    /// Optimizer steps until `max_steps`.
    pub(crate) steps_left: Option<u64>,
    /// Time until `max_time`.
    pub(crate) time_left: Option<Duration>,
}

impl SpeedMeter {
    /// Begins, with what the metadata of the checkpoint says that the run resumes from.
    pub(crate) fn start(&self, clock: RunClock, before: Option<&Value>) {
        let before = before.map(RunSpeed::from_json).unwrap_or_default();
        *self.0.lock() = Some((clock, Measured { before, ..Measured::default() }));
    }

    fn with(&self, work: impl FnOnce(&mut Measured, Duration)) {
        if let Some((clock, measured)) = &mut *self.0.lock() {
            work(measured, clock.elapsed());
        }
    }

    pub(crate) fn begin_training(&self, plan: SplitPlan) {
        self.with(|measured, now| measured.begin_training(plan, now));
    }

    /// The next batches were read, or the end, after the loop had asked at `asked`. This number of items of
    /// the epoch were done before.
    pub(crate) fn read(&self, asked: Duration, items: u64) {
        self.with(|measured, now| measured.read(asked, now, items));
    }

    /// An optimizer step is done.
    pub(crate) fn stepped(&self) {
        if let Some((_, Measured { split: Some(split), .. })) = &mut *self.0.lock() {
            split.steps += 1;
        }
    }

    pub(crate) fn end_training(&self) {
        self.with(Measured::end_training);
    }

    /// Measures until the guard is dropped.
    pub(crate) fn measure(&self, activity: Activity) -> MeasuredActivity {
        let begun = self.0.lock().as_ref().map(|(clock, _)| clock.elapsed()).unwrap_or_default();
        MeasuredActivity { meter: self.clone(), activity, begun }
    }

    /// The sums over all starts, up to now.
    pub(crate) fn totals(&self) -> Option<RunSpeed> {
        self.0.lock().as_ref().map(|(clock, measured)| measured.totals(clock.elapsed()))
    }

    /// Measures again and again, each time since the time before.
    pub(crate) fn of_lines(&self) -> impl FnMut() -> Option<LineSpeed> + Send + 'static {
        let meter = self.clone();
        let mut before = meter.totals().unwrap_or_default();
        move || {
            let now = meter.totals()?;
            let save = meter.0.lock().as_mut().and_then(|(_, measured)| measured.longest_save.take());
            let speed = now.since(std::mem::replace(&mut before, now)).in_line();
            Some(speed.with_save_seconds(save.map(|save| save.as_secs_f64())))
        }
    }

    /// A save has ended that took this long, beside the loop.
    pub(crate) fn saved(&self, took: Duration) {
        self.with(|measured, _| measured.longest_save = measured.longest_save.max(Some(took)));
    }

    /// The speed of the epoch in training, for the display.
    pub(crate) fn shown(&self) -> Option<ShownSpeed> {
        let measured = self.0.lock();
        let (clock, measured) = measured.as_ref()?;
        measured.shown(clock.elapsed())
    }
}

/// Something beside the training of an epoch that is being measured.
pub(crate) struct MeasuredActivity {
    meter: SpeedMeter,
    activity: Activity,
    begun: Duration,
}

impl Drop for MeasuredActivity {
    fn drop(&mut self) {
        self.meter.with(|measured, now| measured.did(self.activity, self.begun, now));
    }
}

/// Less than any part of an interval between two validations.
const ROUNDING: f64 = 1e-6;

/// The sums of a call of `fit`. Times are those since its begin.
#[derive(Debug, Clone, Default)]
struct Measured {
    /// Of earlier starts.
    before: RunSpeed,
    /// Of this one, without the split in progress.
    done: RunSpeed,
    validations: u64,
    /// How often validations come, if one has come since training began.
    pace: Option<ValidationPace>,
    /// The longest save that has ended since the last line with the speed.
    longest_save: Option<Duration>,
    /// How many epochs this call has trained.
    epochs: f64,
    /// The training of the epoch in progress, or of the last one, which may still be shown.
    split: Option<MeasuredSplit>,
}

/// The validations of this call since its first step.
#[derive(Debug, Clone, Copy, Default)]
struct ValidationPace {
    count: u64,
    /// How many epochs the call had trained at the last of them.
    epochs: f64,
    /// How many steps it had done.
    steps: u64,
}

impl ValidationPace {
    /// How many come in the rest of the run. `done`, `now` and `left` are epochs, or steps: at the last
    /// validation, now, and until the end.
    fn left(&self, done: f64, now: f64, left: f64) -> f64 {
        let interval = done / self.count as f64;
        ((left + (now - done).max(0.0)) / interval + ROUNDING).floor()
    }
}

#[derive(Debug, Clone, Copy)]
struct MeasuredSplit {
    plan: SplitPlan,
    begun: Duration,
    ended: Option<Duration>,
    items: u64,
    steps: u64,
    data: Duration,
    saves: Duration,
    validations: Duration,
}

impl MeasuredSplit {
    fn speed(&self, now: Duration) -> RunSpeed {
        let all = self.ended.unwrap_or(now).saturating_sub(self.begun);
        let others = self.data + self.saves + self.validations;
        RunSpeed {
            items: self.items.saturating_sub(self.plan.items_before),
            steps: self.steps,
            step_seconds: all.saturating_sub(others).as_secs_f64(),
            data_seconds: self.data.as_secs_f64(),
            save_seconds: self.saves.as_secs_f64(),
            validation_seconds: self.validations.as_secs_f64(),
        }
    }

    /// How much of an epoch it has trained. `None` where the loader does not say how long an epoch is.
    fn epochs(&self) -> Option<f64> {
        let SplitPlan { items_before, total_items, .. } = self.plan;
        let items = self.items.saturating_sub(items_before);
        (total_items > 0).then(|| (items as f64 / total_items as f64).min(1.0))
    }
}

impl Measured {
    fn begin_training(&mut self, plan: SplitPlan, now: Duration) {
        self.end_training(now);
        let items = plan.items_before;
        let none = Duration::ZERO;
        self.split = Some(MeasuredSplit {
            plan,
            begun: now,
            ended: None,
            items,
            steps: 0,
            data: none,
            saves: none,
            validations: none,
        });
    }

    fn read(&mut self, asked: Duration, now: Duration, items: u64) {
        if let Some(split) = &mut self.split {
            split.data += now.saturating_sub(asked);
            split.items = split.items.max(items);
        }
    }

    fn end_training(&mut self, now: Duration) {
        if let Some(split) = self.split.as_mut().filter(|split| split.ended.is_none()) {
            split.ended = Some(now);
            self.done.add(split.speed(now));
            // Without a number of items it was a whole epoch.
            self.epochs += split.epochs().unwrap_or(1.0);
        }
    }

    fn did(&mut self, activity: Activity, begun: Duration, now: Duration) {
        let took = now.saturating_sub(begun);
        if activity == Activity::Validating {
            self.validations += 1;
            let (epochs, steps) = (self.trained(), self.here(now).steps);
            if epochs > 0.0 && steps > 0 {
                let count = self.pace.unwrap_or_default().count + 1;
                self.pace = Some(ValidationPace { count, epochs, steps });
            }
        }
        match (self.split.as_mut().filter(|split| split.ended.is_none()), activity) {
            (Some(split), Activity::Saving) => split.saves += took,
            (Some(split), Activity::Validating) => split.validations += took,
            (None, Activity::Saving) => self.done.save_seconds += took.as_secs_f64(),
            (None, Activity::Validating) => self.done.validation_seconds += took.as_secs_f64(),
        }
    }

    /// Of this start.
    fn here(&self, now: Duration) -> RunSpeed {
        let mut here = self.done;
        if let Some(split) = self.split.filter(|split| split.ended.is_none()) {
            here.add(split.speed(now));
        }
        here
    }

    fn totals(&self, now: Duration) -> RunSpeed {
        let mut totals = self.before;
        totals.add(self.here(now));
        totals
    }

    fn shown(&self, now: Duration) -> Option<ShownSpeed> {
        let split = self.split?;
        let speed = split.speed(now);
        Some(ShownSpeed {
            items_per_second: speed.items_per_second(),
            steps_per_second: speed.steps_per_second()?,
            data_share: speed.data_share(),
            save_share: speed.save_share(),
            left: self.left(&split, now),
        })
    }

    /// How many epochs this call has trained.
    fn trained(&self) -> f64 {
        let split = self.split.as_ref().filter(|split| split.ended.is_none());
        self.epochs + split.and_then(MeasuredSplit::epochs).unwrap_or(0.0)
    }

    /// Time until the end of the run, if training and validations take as long and come as often as in this
    /// start so far. Before the first validation, one an epoch is expected.
    fn left(&self, split: &MeasuredSplit, now: Duration) -> Option<Duration> {
        let here = self.here(now);
        let SplitPlan { epochs_left, steps_left, time_left, .. } = split.plan;
        let trained = self.trained();
        let validation = here.validation_seconds / (self.validations.max(1)) as f64;
        let begun =
            split.plan.total_items.checked_sub(1).map_or(1.0, |last| split.items as f64 / (last + 1) as f64);
        let by_epochs = (trained > 0.0 && epochs_left > 0).then(|| {
            let left = (epochs_left as f64 - begun.min(1.0)).max(0.0);
            let validations =
                self.pace.map_or(epochs_left as f64, |pace| pace.left(pace.epochs, trained, left));
            left * here.training_seconds() / trained + validations * validation
        });
        let by_steps = steps_left.filter(|_| here.steps > 0).map(|left| {
            let (left, steps) = (left.saturating_sub(split.steps) as f64, here.steps as f64);
            let validations = self.pace.map_or(0.0, |pace| pace.left(pace.steps as f64, steps, left));
            left * here.training_seconds() / steps + validations * validation
        });
        let by_time =
            time_left.map(|left| left.saturating_sub(now.saturating_sub(split.begun)).as_secs_f64());
        let left = [by_epochs, by_steps, by_time].into_iter().flatten().reduce(f64::min)?;
        Duration::try_from_secs_f64(left).ok()
    }
}

#[cfg(test)]
mod tests;
