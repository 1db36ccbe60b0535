//! Speeds and the time that is left, from measured times.

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Some optimizer steps, after which the next batch is read.
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
    measured.begin_training(SplitPlan { items_before: 50, total_items: 100, ..SplitPlan::default() }, s(10));
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
    // No validation comes within the 3 steps that are left.
    assert_eq!(with(Some(8), None), 3.0 * 141.0 / 15.0);
    assert_eq!(with(None, Some(s(50))), 10.0);
}

#[test]
fn validations_come_as_often_as_they_did() {
    let left_at_half = |every: u64| {
        let mut measured = Measured::default();
        let plan =
            |steps_left| SplitPlan { total_items: 100, epochs_left: 4, steps_left, ..SplitPlan::default() };
        measured.begin_training(plan(Some(20)), s(0));
        let mut now = 0;
        for step in 1..=10 {
            now += 10;
            read(&mut measured, s(now), s(now), 5 * step, 1);
            if step % every == 0 {
                measured.did(Activity::Validating, s(now), s(now + 7));
                now += 7;
            }
        }
        let by_steps = measured.shown(s(now)).unwrap().left.unwrap().as_secs();
        measured.split.as_mut().unwrap().plan = plan(None);
        (by_steps, measured.shown(s(now)).unwrap().left.unwrap().as_secs())
    };
    // 10 of 20 steps are left, or three and a half of four epochs that have 20 steps each.
    assert_eq!(left_at_half(5), (10 * 10 + 2 * 7, 70 * 10 + 14 * 7));
    assert_eq!(left_at_half(4), (10 * 10 + 3 * 7, 70 * 10 + 18 * 7));
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
