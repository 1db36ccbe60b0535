//! What a save costs the loop, from the moments that a process told: one rule for every contender.
//!
//! A save costs more than its call: the steps that follow run beside the writing, and where the snapshot shares memory with
//! the model, they pay for memory of their own. So the steps from a save until it is durable, and one more, are set
//! against as many undisturbed ones of the same run.

use super::measured::{Measured, SaveTimes, median};

/// Steps that are not counted: in them memory is got for the first time.
pub const WARM_UP: usize = 3;

/// What a contender's saves cost; medians over its saves, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// An undisturbed step.
    pub step: f64,
    /// The save's own call.
    pub call: f64,
    /// By how much the steps beside the save took longer; below 0 where noise is more than the cost.
    pub lost: f64,
    /// From the decision until it was durable, while the loop trained.
    pub durable: f64,
    /// The step after the first save, against an undisturbed one.
    pub step_after_first: f64,
    /// The step after the later saves, against an undisturbed one.
    pub step_after_later: Option<f64>,
}

/// The cost, or `None` where there was no save, or no undisturbed step.
#[must_use]
pub fn cost(measured: &Measured) -> Option<Cost> {
    let begins = &measured.begins;
    let step = |index: usize| Some(begins.get(index + 1)? - begins.get(index)?);
    // The steps beside each save: from the one in which it was asked for.
    let windows: Vec<std::ops::Range<usize>> =
        measured.saves.iter().filter_map(|save| window(begins, save)).collect();
    let disturbed = |index: &usize| windows.iter().any(|window| window.contains(index));
    let of_save = |index: &usize| windows.iter().any(|window| window.start == *index);
    let quiet: Vec<f64> = (WARM_UP..begins.len().saturating_sub(1))
        .filter(|index| !disturbed(index) && !of_save(index))
        .filter_map(step)
        .collect();
    let quiet = median(&quiet)?;
    let lost: Vec<f64> = windows
        .iter()
        .map(|window| {
            let took: f64 = window.clone().filter_map(step).sum();
            let others = window.len().saturating_sub(1) as f64;
            took - measured.step_of_save.unwrap_or(quiet) - others * quiet
        })
        .collect();
    let of = |part: fn(&SaveTimes) -> f64| measured.saves.iter().map(part).collect::<Vec<f64>>();
    let after: Vec<f64> =
        windows.iter().filter_map(|window| step(window.start + 1)).map(|step| step / quiet).collect();
    Some(Cost {
        step: quiet,
        call: median(&of(|save| save.returned - save.asked))?,
        lost: median(&lost)?,
        durable: median(&of(|save| save.durable - save.asked))?,
        step_after_first: *after.first()?,
        step_after_later: median(after.get(1..)?),
    })
}

/// From the step in which a save was asked for to the one after that in which it became durable, as far as they are over.
fn window(begins: &[f64], save: &SaveTimes) -> Option<std::ops::Range<usize>> {
    let asked = begins.partition_point(|begin| *begin <= save.asked).checked_sub(1)?;
    let durable = begins.partition_point(|begin| *begin <= save.durable.max(save.returned)).checked_sub(1)?;
    let end = (durable + 2).max(asked + 2);
    (end < begins.len()).then_some(asked..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of these lengths, and saves.
    fn measured(steps: &[f64], saves: &[SaveTimes]) -> Measured {
        let mut at = 100.0;
        let mut begins = vec![at];
        begins.extend(steps.iter().map(|step| {
            at += step;
            at
        }));
        Measured { begins, saves: saves.to_vec(), ..Measured::default() }
    }

    #[test]
    fn what_steps_beside_the_writing_take_longer_is_lost() {
        // Asked for in the fourth step, after 3.9 of its 4 seconds; durable in the sixth, and one more counts.
        let steps = [9.0, 9.0, 9.0, 4.0, 7.0, 5.0, 4.5, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 130.9, returned: 130.95, durable: 139.0 };
        let cost = cost(&measured(&steps, &[save])).unwrap();
        assert_eq!(cost.step, 4.0);
        assert!((cost.lost - (3.0 + 1.0 + 0.5)).abs() < 1e-9, "{cost:?}");
        assert!((cost.call - 0.05).abs() < 1e-9 && (cost.durable - 8.1).abs() < 1e-9, "{cost:?}");
        assert!((cost.step_after_first - 7.0 / 4.0).abs() < 1e-9, "{cost:?}");
        assert_eq!(cost.step_after_later, None);
    }

    #[test]
    fn a_save_that_holds_the_loop_is_lost_as_a_whole() {
        // The step of the save has the save in it, and the next is durable's one more.
        let steps = [4.0, 4.0, 4.0, 4.0, 10.0, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 120.0, returned: 126.0, durable: 126.0 };
        let found = cost(&measured(&steps, &[save])).unwrap();
        assert!((found.lost - 6.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_validation_in_the_step_of_the_save_is_no_cost() {
        let steps = [4.0, 4.0, 4.0, 4.0, 10.0, 4.0, 4.0, 4.0];
        let save = SaveTimes { asked: 125.5, returned: 126.0, durable: 126.0 };
        let measured = Measured { step_of_save: Some(9.5), ..measured(&steps, &[save]) };
        assert!((cost(&measured).unwrap().lost - 0.5).abs() < 1e-9);
    }

    #[test]
    fn without_an_undisturbed_step_nothing_is_said() {
        let save = SaveTimes { asked: 112.5, returned: 112.5, durable: 119.0 };
        assert_eq!(cost(&measured(&[4.0; 8], &[])), None);
        assert_eq!(cost(&measured(&[4.0; 3], &[save])), None);
        let durable_late = SaveTimes { asked: 112.5, returned: 112.5, durable: 900.0 };
        assert_eq!(cost(&measured(&[4.0; 8], &[durable_late])), None);
    }
}
