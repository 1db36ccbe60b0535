//! What a save costs the loop, from moments: one rule for every contender and every device.
//!
//! A save costs more than its call: the steps that follow run beside the writing, and where the snapshot
//! shares memory with the model, they pay for memory of their own. So the steps from a save until it is
//! durable, and one more, are set against as many undisturbed ones: those of the same run that are nearest,
//! as a machine that others use becomes faster and slower by the minute.

use serde::{Deserialize, Serialize};

use crate::measure::timing::median;

/// Undisturbed steps that a save's are compared with.
const NEAREST: usize = 8;

/// A moment: seconds, since 1970 as the clock that dates files has it, or since something else.
pub type Moment = f64;

/// One save.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SaveTimes {
    /// The loop decided to save.
    pub asked: Moment,
    /// The loop continued.
    pub returned: Moment,
    /// Everything was on disk under its name.
    pub durable: Moment,
}

/// The moments of a run.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a> {
    /// When each step began, and the last one ended.
    pub begins: &'a [Moment],
    /// The saves.
    pub saves: &'a [SaveTimes],
    /// Steps before this one are not undisturbed: in them memory is got for the first time, or kernels are
    /// compiled.
    pub warm_up: usize,
    /// Steps in which there was more than a step: a validation.
    pub no_steps: &'a [usize],
    /// The step in which a save falls has this length without one (a validation may be in it); as the others,
    /// if not given.
    pub step_of_save: Option<f64>,
}

/// What saves cost; medians over the saves of a run, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Saves that these are the medians of: those whose steps were over when the run ended.
    pub saves: usize,
    /// An undisturbed step.
    pub step: f64,
    /// The save's own call.
    pub call: f64,
    /// By how much the steps beside the save took longer; below 0 where noise is more than the cost.
    pub lost: f64,
    /// From the decision until it was durable, while the loop trained.
    pub durable: f64,
    /// The step in which the save was asked for.
    pub step_of_save: Option<f64>,
    /// A later step beside the writing, if there was one.
    pub step_beside: Option<f64>,
    /// The step after that of the first save, against an undisturbed one.
    pub step_after_first: Option<f64>,
    /// The step after those of the later saves, against an undisturbed one.
    pub step_after_later: Option<f64>,
}

/// The cost, or `None` where there was no save, or no undisturbed step.
#[must_use]
pub fn cost(run: &Moments<'_>) -> Option<Cost> {
    let begins = run.begins;
    let step = |index: usize| match run.no_steps.contains(&index) {
        true => None,
        false => Some(begins.get(index + 1)? - begins.get(index)?),
    };
    // The steps beside each save: from the one in which it was asked for.
    let windows: Vec<std::ops::Range<usize>> =
        run.saves.iter().filter_map(|save| window(begins, save)).collect();
    let disturbed = |index: &usize| windows.iter().any(|window| window.contains(index));
    let undisturbed: Vec<(usize, f64)> = (run.warm_up..begins.len().saturating_sub(1))
        .filter(|index| !disturbed(index))
        .filter_map(|index| Some((index, step(index)?)))
        .collect();
    let quiet = median(&undisturbed.iter().map(|(_, step)| *step).collect::<Vec<f64>>())?;
    let lost: Vec<f64> = windows
        .iter()
        .map(|window| {
            let usual = nearest(&undisturbed, window)?;
            let without = |index: usize| match index == window.start {
                true => run.step_of_save.unwrap_or(usual),
                false => usual,
            };
            Some(window.clone().filter_map(|index| Some(step(index)? - without(index))).sum())
        })
        .collect::<Option<_>>()?;
    let of = |part: fn(&SaveTimes) -> f64| run.saves.iter().map(part).collect::<Vec<f64>>();
    let in_windows = |steps: fn(&std::ops::Range<usize>) -> std::ops::Range<usize>| {
        windows.iter().flat_map(steps).filter_map(step).collect::<Vec<f64>>()
    };
    let after: Vec<f64> = windows.iter().filter_map(|window| Some(step(window.start + 1)? / quiet)).collect();
    Some(Cost {
        saves: windows.len(),
        step: quiet,
        call: median(&of(|save| save.returned - save.asked))?,
        lost: median(&lost)?,
        durable: median(&of(|save| save.durable - save.asked))?,
        step_of_save: median(&in_windows(|window| window.start..window.start + 1)),
        step_beside: median(&in_windows(|window| window.start + 1..window.end - 1)),
        step_after_first: after.first().copied(),
        step_after_later: median(after.get(1..).unwrap_or_default()),
    })
}

/// The median of the undisturbed steps that are nearest to these.
fn nearest(undisturbed: &[(usize, f64)], window: &std::ops::Range<usize>) -> Option<f64> {
    let mut all = undisturbed.to_vec();
    all.sort_by_key(|(index, _)| {
        window.start.saturating_sub(*index).max(index.saturating_sub(window.end - 1))
    });
    let steps: Vec<f64> = all.iter().take(NEAREST).map(|(_, step)| *step).collect();
    median(&steps)
}

/// From the step in which a save was asked for to the one after that in which it became durable, as far as
/// they are over.
fn window(begins: &[f64], save: &SaveTimes) -> Option<std::ops::Range<usize>> {
    let asked = begins.partition_point(|begin| *begin <= save.asked).checked_sub(1)?;
    let durable = begins.partition_point(|begin| *begin <= save.durable.max(save.returned)).checked_sub(1)?;
    let end = (durable + 2).max(asked + 2);
    (end < begins.len()).then_some(asked..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When steps of these lengths begin.
    fn begins(steps: &[f64]) -> Vec<Moment> {
        let mut at = 100.0;
        let ends = steps.iter().map(|step| {
            at += step;
            at
        });
        std::iter::once(100.0).chain(ends).collect()
    }

    fn run<'a>(begins: &'a [Moment], saves: &'a [SaveTimes]) -> Moments<'a> {
        Moments { begins, saves, warm_up: 3, no_steps: &[], step_of_save: None }
    }

    #[test]
    fn what_steps_beside_the_writing_take_longer_is_lost() {
        // Asked for in the fourth step, after 3.9 of its 4 seconds; durable in the sixth, and one more
        // counts.
        let steps = [9.0, 9.0, 9.0, 4.0, 7.0, 5.0, 4.5, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 130.9, returned: 130.95, durable: 139.0 };
        let cost = cost(&run(&begins(&steps), &[save])).unwrap();
        assert_eq!(cost.step, 4.0);
        assert!((cost.lost - (3.0 + 1.0 + 0.5)).abs() < 1e-9, "{cost:?}");
        assert!((cost.call - 0.05).abs() < 1e-9 && (cost.durable - 8.1).abs() < 1e-9, "{cost:?}");
        assert!((cost.step_after_first.unwrap() - 7.0 / 4.0).abs() < 1e-9, "{cost:?}");
        assert_eq!((cost.step_of_save, cost.step_beside), (Some(4.0), Some(7.0)));
        assert_eq!(cost.step_after_later, None);
    }

    #[test]
    fn a_machine_that_becomes_slower_does_not_count_as_cost_of_a_save() {
        // Each step takes a tenth of a second longer than the one before, and the one of the save a second
        // more.
        let steps: Vec<f64> =
            (0..60).map(|i| 4.0 + f64::from(i) * 0.1 + if i == 50 { 1.0 } else { 0.0 }).collect();
        let begins = begins(&steps);
        let save = SaveTimes { asked: begins[50], returned: begins[50], durable: begins[50] + 1.0 };
        let found = cost(&run(&begins, &[save])).unwrap();
        assert!((found.lost - 1.0).abs() < 0.3, "{found:?}");
    }

    #[test]
    fn a_save_that_holds_the_loop_is_lost_as_a_whole() {
        // The step of the save has the save in it, and the next is durable's one more.
        let steps = [4.0, 4.0, 4.0, 4.0, 10.0, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 120.0, returned: 126.0, durable: 126.0 };
        let found = cost(&run(&begins(&steps), &[save])).unwrap();
        assert!((found.lost - 6.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_validation_in_the_step_of_the_save_does_not_count_as_cost() {
        let steps = [4.0, 4.0, 4.0, 4.0, 10.0, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 125.5, returned: 126.0, durable: 126.0 };
        let (begins, saves) = (begins(&steps), [save]);
        let run = Moments { step_of_save: Some(9.5), ..run(&begins, &saves) };
        assert!((cost(&run).unwrap().lost - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_step_with_a_validation_in_it_is_none() {
        // The fifth step is beside the writing, and the eighth is not.
        let steps = [4.0, 4.0, 4.0, 5.0, 90.0, 4.5, 4.0, 80.0, 4.0, 4.0];
        let save = SaveTimes { asked: 112.0, returned: 112.0, durable: 120.0 };
        let (begins, saves) = (begins(&steps), [save]);
        let found = cost(&Moments { no_steps: &[4, 7], ..run(&begins, &saves) }).unwrap();
        assert!((found.step - 4.0).abs() < 1e-9 && (found.lost - 1.5).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn without_an_undisturbed_step_nothing_is_said() {
        let save = SaveTimes { asked: 112.5, returned: 112.5, durable: 119.0 };
        assert_eq!(cost(&run(&begins(&[4.0; 8]), &[])), None);
        assert_eq!(cost(&run(&begins(&[4.0; 3]), &[save])), None);
        let durable_late = SaveTimes { asked: 112.5, returned: 112.5, durable: 900.0 };
        assert_eq!(cost(&run(&begins(&[4.0; 8]), &[durable_late])), None);
    }
}
