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

    /// The next batches were read, or the end, after the loop had asked at `asked`. So many items of the
    /// epoch were done before.
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

/// The sums of a call of `fit`. Times are those since its begin.
#[derive(Debug, Clone, Default)]
struct Measured {
    /// Of earlier starts.
    before: RunSpeed,
    /// Of this one, without the split in progress.
    done: RunSpeed,
    validations: u64,
    /// The longest save that has ended since the last line with the speed.
    longest_save: Option<Duration>,
    /// How many epochs this call has trained.
    epochs: f64,
    /// The training of the epoch in progress, or of the last one, which may still be shown.
    split: Option<MeasuredSplit>,
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
        self.validations += u64::from(activity == Activity::Validating);
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

    /// Time until the end of the run, if training and validation take as long as in this start so far.
    fn left(&self, split: &MeasuredSplit, now: Duration) -> Option<Duration> {
        let here = self.here(now);
        let SplitPlan { epochs_left, steps_left, time_left, .. } = split.plan;
        let in_epoch = split.epochs();
        let trained = self.epochs + in_epoch.filter(|_| split.ended.is_none()).unwrap_or(0.0);
        let begun =
            split.plan.total_items.checked_sub(1).map_or(1.0, |last| split.items as f64 / (last + 1) as f64);
        let by_epochs = (trained > 0.0 && epochs_left > 0).then(|| {
            let validation = here.validation_seconds / (self.validations.max(1)) as f64;
            let left = (epochs_left as f64 - begun.min(1.0)).max(0.0);
            left * here.training_seconds() / trained + epochs_left as f64 * validation
        });
        let by_steps = steps_left.filter(|_| here.steps > 0).map(|left| {
            left.saturating_sub(split.steps) as f64 * here.training_seconds() / here.steps as f64
        });
        let by_time =
            time_left.map(|left| left.saturating_sub(now.saturating_sub(split.begun)).as_secs_f64());
        let left = [by_epochs, by_steps, by_time].into_iter().flatten().reduce(f64::min)?;
        Duration::try_from_secs_f64(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// So many optimizer steps, after which the next batch is read.
    fn read(measured: &mut Measured, asked: Duration, now: Duration, items: u64, steps: u64) {
        measured.split.as_mut().unwrap().steps += steps;
        measured.read(asked, now, items);
    }

    /// An epoch of 100 items in 10 steps that takes 100 s: of each step 2 s are data, and one save takes 5 s.
    /// 20 s of validation follow.
    fn epoch(measured: &mut Measured, from: u64, epochs_left: u64) {
        let plan = SplitPlan { total_items: 100, epochs_left, ..SplitPlan::default() };
        measured.begin_training(plan, s(from));
        for step in 1..=10 {
            read(measured, s(from + 10 * step - 2), s(from + 10 * step), 10 * step, 1);
        }
        measured.did(Activity::Saving, s(from + 90), s(from + 95));
        measured.end_training(s(from + 100));
        measured.did(Activity::Validating, s(from + 100), s(from + 120));
        measured.did(Activity::Saving, s(from + 120), s(from + 121));
    }

    #[test]
    fn the_parts_of_the_time_add_up_and_rates_leave_validation_out() {
        let mut measured = Measured::default();
        epoch(&mut measured, 0, 3);
        epoch(&mut measured, 200, 2);
        let speed = measured.totals(s(1000));
        let expected = RunSpeed {
            items: 200,
            steps: 20,
            step_seconds: 150.0,
            data_seconds: 40.0,
            save_seconds: 12.0,
            validation_seconds: 40.0,
        };
        assert_eq!(speed, expected);
        assert_eq!(speed.items_per_second(), Some(200.0 / 202.0));
        assert_eq!(speed.steps_per_second(), Some(20.0 / 202.0));
        assert_eq!((speed.data_share(), speed.save_share()), (40.0 / 242.0, 12.0 / 242.0));
    }

    #[test]
    fn a_split_in_progress_counts_up_to_now_and_what_earlier_starts_did_is_added() {
        let before = RunSpeed { items: 7, steps: 1, step_seconds: 3.0, ..RunSpeed::default() };
        let mut measured = Measured { before, ..Measured::default() };
        measured
            .begin_training(SplitPlan { items_before: 50, total_items: 100, ..SplitPlan::default() }, s(10));
        read(&mut measured, s(13), s(14), 60, 1);
        // A validation within the epoch.
        measured.did(Activity::Validating, s(14), s(18));
        let speed = measured.totals(s(20));
        assert_eq!((speed.items, speed.steps), (17, 2));
        assert_eq!((speed.step_seconds, speed.data_seconds, speed.validation_seconds), (8.0, 1.0, 4.0));
    }

    #[test]
    fn the_time_that_is_left_follows_from_epochs_steps_and_time() {
        let mut measured = Measured::default();
        let plan = SplitPlan { total_items: 100, epochs_left: 3, ..SplitPlan::default() };
        measured.begin_training(plan, s(0));
        assert_eq!(measured.shown(s(1)), None);
        read(&mut measured, s(10), s(10), 25, 1);
        // A quarter of an epoch in 10 s, of 3 epochs; no validation is known yet.
        assert_eq!(measured.shown(s(10)).unwrap().left, Some(s(110)));
        let with = |steps_left, time_left| {
            let mut measured = Measured::default();
            epoch(&mut measured, 0, 3);
            let plan =
                SplitPlan { total_items: 100, epochs_left: 2, steps_left, time_left, ..SplitPlan::default() };
            measured.begin_training(plan, s(200));
            read(&mut measured, s(240), s(240), 50, 5);
            measured.shown(s(240)).unwrap().left.unwrap().as_secs_f64()
        };
        // 141 s for one and a half epochs, of which one and a half are left, and two validations.
        assert_eq!(with(None, None), 141.0 + 40.0);
        assert_eq!(with(Some(8), None), 3.0 * 141.0 / 15.0);
        assert_eq!(with(None, Some(s(50))), 10.0);
    }

    #[test]
    fn a_loader_that_counts_nothing_has_steps_and_no_items() {
        let mut measured = Measured::default();
        measured.begin_training(SplitPlan { epochs_left: 2, ..SplitPlan::default() }, s(0));
        read(&mut measured, s(1), s(2), 0, 1);
        let shown = measured.shown(s(4)).unwrap();
        assert_eq!((shown.items_per_second, shown.steps_per_second, shown.left), (None, 0.25, None));
        assert_eq!(shown.data_share, 0.25);
    }
}
