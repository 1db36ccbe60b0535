//! What a run has done and where its time went, over all its starts.

use burn_ckpt::metrics_log::LineSpeed;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// More seconds than any run takes. A checkpoint that has more says nothing.
const MAX_SECONDS: f64 = 1e12;

/// What a run has done, and where its time went, over all its starts:
/// [`FitResult::speed`](crate::FitResult::speed). [`items_per_second`](Self::items_per_second) has an
/// example.
///
/// The four parts of the time do not overlap. What a start takes before its first batch, and what callbacks
/// take between epochs, is in none of them, and neither is the handing over of the last state: the numbers
/// are those in that state's metadata, which `burn-ckpt` shows. A device that computes beside the loop is
/// waited for where the loop needs its results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunSpeed {
    /// Items trained on. 0 where the loader does not count them.
    pub items: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Seconds of the training of epochs, without the two that follow.
    pub step_seconds: f64,
    /// Seconds in which the loop waited for training data.
    pub data_seconds: f64,
    /// Seconds in which the loop handed states over to be saved, or waited until it could.
    pub save_seconds: f64,
    /// Seconds of validations.
    pub validation_seconds: f64,
}

impl RunSpeed {
    /// Items a second, validations left out. `None` where nothing was counted.
    ///
    /// ```no_run
    /// # fn run<M>(result: burn_trainer::FitResult<M>) {
    /// if let Some(rate) = result.speed.and_then(|speed| speed.items_per_second()) {
    ///     println!("{rate:.0} items a second");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn items_per_second(&self) -> Option<f64> {
        rate(self.items, self.training_seconds())
    }

    /// Optimizer steps a second, validations left out. `None` before the first.
    #[must_use]
    pub fn steps_per_second(&self) -> Option<f64> {
        rate(self.steps, self.training_seconds())
    }

    /// The part of all measured time in which the loop waited for training data, from 0 to 1.
    #[must_use]
    pub fn data_share(&self) -> f64 {
        share(self.data_seconds, self.training_seconds() + self.validation_seconds)
    }

    /// The part of all measured time that handing over saves took, from 0 to 1.
    #[must_use]
    pub fn save_share(&self) -> f64 {
        share(self.save_seconds, self.training_seconds() + self.validation_seconds)
    }

    pub(crate) fn training_seconds(&self) -> f64 {
        self.step_seconds + self.data_seconds + self.save_seconds
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.items = self.items.saturating_add(other.items);
        self.steps = self.steps.saturating_add(other.steps);
        self.step_seconds += other.step_seconds;
        self.data_seconds += other.data_seconds;
        self.save_seconds += other.save_seconds;
        self.validation_seconds += other.validation_seconds;
    }

    /// What was done since an earlier moment, of which the sums are given.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            items: self.items.saturating_sub(before.items),
            steps: self.steps.saturating_sub(before.steps),
            step_seconds: self.step_seconds - before.step_seconds,
            data_seconds: self.data_seconds - before.data_seconds,
            save_seconds: self.save_seconds - before.save_seconds,
            validation_seconds: self.validation_seconds - before.validation_seconds,
        }
    }

    /// As a line of the run's log has it.
    pub(crate) fn in_line(self) -> LineSpeed {
        LineSpeed::new(self.items_per_second(), self.steps_per_second(), self.data_share(), self.save_share())
    }

    /// As it stands in a checkpoint's metadata: the sums, and what follows from them.
    pub(crate) fn to_json(self) -> Value {
        let Self { items, steps, step_seconds, data_seconds, save_seconds, validation_seconds } = self;
        json!({
            "items_per_second": self.items_per_second(),
            "steps_per_second": self.steps_per_second(),
            "data_share": self.data_share(),
            "save_share": self.save_share(),
            "items": items,
            "steps": steps,
            "step_seconds": step_seconds,
            "data_seconds": data_seconds,
            "save_seconds": save_seconds,
            "validation_seconds": validation_seconds,
        })
    }

    /// The sums in a checkpoint's metadata: zeros where it has none, or impossible ones.
    pub(crate) fn from_json(json: &Value) -> Self {
        let found = Self::deserialize(json).unwrap_or_default();
        let Self { step_seconds, data_seconds, save_seconds, validation_seconds, .. } = found;
        let seconds = [step_seconds, data_seconds, save_seconds, validation_seconds];
        match seconds.iter().all(|seconds| (0.0..MAX_SECONDS).contains(seconds)) {
            true => found,
            false => Self::default(),
        }
    }
}

fn rate(count: u64, seconds: f64) -> Option<f64> {
    (count > 0 && seconds > 0.0).then(|| count as f64 / seconds)
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_read_back_from_json_and_those_that_cannot_be_are_not() {
        let speed = RunSpeed { items: 7, steps: 2, step_seconds: 0.1 + 0.2, ..RunSpeed::default() };
        assert_eq!(RunSpeed::from_json(&speed.to_json()), speed);
        for wrong in [
            json!(null),
            json!({ "steps": -1 }),
            json!({ "step_seconds": -1.0 }),
            json!({ "data_seconds": 1e300 }),
        ] {
            assert_eq!(RunSpeed::from_json(&wrong), RunSpeed::default(), "{wrong}");
        }
    }
}
