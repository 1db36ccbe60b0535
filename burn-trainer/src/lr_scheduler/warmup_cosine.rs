//! A rate that rises, and falls along a cosine to a floor.

use std::f64::consts::PI;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

const STEPS_DONE: &str = "steps_done";

/// Rises in equal steps to the top rate, falls along half a cosine, and stays at its floor. burn's cosine
/// rises again after its end.
///
/// With `w` steps of warm-up and `n` steps in all, the rate of step `s`, counted from 0, is
///
/// - `top * (s + 1) / w` for `s < w`,
/// - `floor + (top - floor) * (1 + cos(pi * (s - w) / (n - w))) / 2` up to `n`, and `floor` after it.
///
/// The cosine is that of [SGDR](https://arxiv.org/abs/1608.03983) without restarts.
///
/// ```
/// use burn::lr_scheduler::LrScheduler;
/// use burn_trainer::lr_scheduler::WarmupCosine;
///
/// let mut rate = WarmupCosine::new(0.1, 8).with_warmup_steps(4).with_floor(0.02);
/// let rates: Vec<String> = (0..10).map(|_| format!("{:.3}", rate.step())).collect();
/// assert_eq!(rates.join(" "), "0.025 0.050 0.075 0.100 0.100 0.088 0.060 0.032 0.020 0.020");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WarmupCosine {
    top: f64,
    floor: f64,
    warmup_steps: u64,
    steps: u64,
    steps_done: u64,
}

impl WarmupCosine {
    /// A rate that falls from `top` to 0 within `steps` optimizer steps.
    #[must_use]
    pub fn new(top: f64, steps: u64) -> Self {
        Self { top, floor: 0.0, warmup_steps: 0, steps, steps_done: 0 }
    }

    /// Sets how many of the steps the rate rises: fewer than all of them, or it never reaches the curve.
    #[must_use]
    pub fn with_warmup_steps(mut self, steps: u64) -> Self {
        self.warmup_steps = steps;
        self
    }

    /// Sets the rate at the end, and after it: 0 by default. It is never above the top.
    #[must_use]
    pub fn with_floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    fn rate(&self, step: u64) -> f64 {
        let Self { top, warmup_steps, steps, .. } = *self;
        let floor = self.floor.min(top);
        if step < warmup_steps {
            return top * (step + 1) as f64 / warmup_steps as f64;
        }
        let (fallen, length) = (step - warmup_steps, steps.saturating_sub(warmup_steps));
        if fallen >= length {
            return floor;
        }
        floor + (top - floor) * (1.0 + (PI * fallen as f64 / length as f64).cos()) / 2.0
    }
}

impl LrScheduler for WarmupCosine {
    fn step(&mut self) -> f64 {
        let rate = self.rate(self.steps_done);
        self.steps_done += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(STEPS_DONE, self.steps_done)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        // That the record has it was checked: it is the state of a scheduler of this kind.
        self.steps_done = record.scalar(STEPS_DONE).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(mut scheduler: WarmupCosine, steps: usize) -> Vec<f64> {
        (0..steps).map(|_| scheduler.step()).collect()
    }

    #[test]
    fn it_is_never_above_its_top_nor_below_its_floor_after_the_warmup() {
        for (warmup, steps) in [(0, 100), (10, 100), (100, 100), (100, 50), (0, 0), (0, 1)] {
            let all = rates(WarmupCosine::new(0.3, steps).with_warmup_steps(warmup).with_floor(0.1), 300);
            assert!(all.iter().all(|rate| *rate <= 0.3 && *rate > 0.0), "{warmup} {steps}");
            assert!(all[warmup as usize..].iter().all(|rate| *rate >= 0.1));
            assert!(all[warmup as usize..].is_sorted_by(|a, b| a >= b));
            assert_eq!(all[299], 0.1);
        }
    }

    #[test]
    fn a_floor_above_the_top_is_the_top() {
        let all = rates(WarmupCosine::new(0.1, 100).with_warmup_steps(10).with_floor(0.3), 200);
        assert!(all.iter().all(|rate| *rate <= 0.1), "{all:?}");
        assert_eq!(all[150], 0.1);
    }

    #[test]
    fn a_longer_schedule_continues_where_it_would_be() {
        let mut short = WarmupCosine::new(0.1, 100);
        (0..60).for_each(|_| _ = short.step());
        let mut long = WarmupCosine::new(0.1, 200);
        long.load_record(short.to_record());
        assert_eq!(long.step(), rates(WarmupCosine::new(0.1, 200), 61)[60]);
    }
}
