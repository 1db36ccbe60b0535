//! The sweep: a step at each learning rate, from a low one to a high one, until the loss diverges.

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::ModuleOptimizer;
use burn::tensor::TensorReadError;
use burn::train::metric::Adaptor;
use burn::train::{Learner, LearnerModel, TrainStep};

use super::sweep::{LearningRateSweep, SweepEnd};
use super::sweep_point::SweepPoint;
use crate::error::{Error, Result};
use crate::metric::MeanLossInput;
use crate::training_loop::trial::Trial;

/// The weight of the losses before in the smoothed loss, as in Lightning and fastai.
const SMOOTHING: f64 = 0.98;

/// The settings of a search for a learning rate, for
/// [`Trainer::find_learning_rate`](crate::Trainer::find_learning_rate).
///
/// Each step has the rate of the step before, times a constant factor.
///
/// ```
/// use burn_trainer::finders::LearningRateFinder;
///
/// let finder = LearningRateFinder::new().with_range(1e-6, 1.0).with_steps(200);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LearningRateFinder {
    /// The first rate: 1e-8 by default.
    pub lowest: f64,
    /// The last rate: 1 by default.
    pub highest: f64,
    /// How many rates are tried, each with an optimizer step: 100 by default.
    pub steps: u64,
    /// The sweep ends when the smoothed loss is above this factor times its lowest value: 4 by default.
    pub divergence: f64,
    /// Batches of each device in an optimizer step, as `grads_accumulation` of burn's training: 1 by default.
    pub grads_accumulation: usize,
}

impl LearningRateFinder {
    /// A finder with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self { lowest: 1e-8, highest: 1.0, steps: 100, divergence: 4.0, grads_accumulation: 1 }
    }

    /// Sets the first and the last rate.
    #[must_use]
    pub fn with_range(mut self, lowest: f64, highest: f64) -> Self {
        (self.lowest, self.highest) = (lowest, highest);
        self
    }

    /// Sets how many rates are tried.
    #[must_use]
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the factor above the lowest smoothed loss at which the sweep ends.
    #[must_use]
    pub fn with_divergence(mut self, factor: f64) -> Self {
        self.divergence = factor;
        self
    }

    /// Sets the batches of each device in an optimizer step.
    #[must_use]
    pub fn with_grads_accumulation(mut self, batches: usize) -> Self {
        self.grads_accumulation = batches;
        self
    }

    fn check(&self) -> Result<()> {
        let Self { lowest, highest, steps, divergence, grads_accumulation } = *self;
        let wrong = |setting: &str, reason: String| Err(Error::config(setting, reason));
        if !(lowest > 0.0 && lowest < highest && highest.is_finite()) {
            return wrong("range", format!("{lowest} to {highest}: it must rise, from above 0"));
        }
        if steps < 2 {
            return wrong("steps", format!("{steps}: a curve has at least 2"));
        }
        if divergence.is_nan() || divergence <= 1.0 {
            return wrong("divergence", format!("{divergence}: it must be above 1"));
        }
        if grads_accumulation == 0 {
            return wrong("grads_accumulation", "it must be above 0".to_owned());
        }
        Ok(())
    }

    /// Tries the rates on a copy of the model.
    pub(crate) fn run<M>(
        &self,
        trial: Trial,
        loader: &Arc<dyn DataLoader<<M as TrainStep>::Input>>,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<LearningRateSweep>
    where
        M: LearnerModel,
        <M as TrainStep>::Output: Adaptor<MeanLossInput>,
    {
        self.check()?;
        let trial = Trial { accumulation: self.grads_accumulation, ..trial };
        let growth = (self.highest / self.lowest).powf(1.0 / (self.steps - 1) as f64);
        let schedule = Exponential { next: self.lowest, growth };
        let learner = Learner::new(trial.first_weights(model)?, optimizer.clone(), schedule);
        let mut curve = Curve { rates: Vec::new(), mean: 0.0, lowest: f64::INFINITY };
        let (mut end, mut learning_rate) = (SweepEnd::AtTheHighest, self.lowest);
        trial.run(learner, loader, |outputs, _| {
            let loss = mean_loss(outputs).map_err(unreadable)?;
            let ended = curve.add(learning_rate, loss, self.divergence);
            learning_rate *= growth;
            Ok(match ended {
                Some(ended) => {
                    end = ended;
                    ControlFlow::Break(())
                }
                None if curve.rates.len() as u64 >= self.steps => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        })?;
        Ok(LearningRateSweep { rates: curve.rates, end })
    }
}

impl Default for LearningRateFinder {
    fn default() -> Self {
        Self::new()
    }
}

/// The mean over the items of a step's batches.
fn mean_loss<O: Adaptor<MeanLossInput>>(outputs: &[O]) -> Result<f64, TensorReadError> {
    let (mut sum, mut all) = (0.0, 0);
    for output in outputs {
        let (mean, items) = output.adapt().mean()?;
        sum += mean * items as f64;
        all += items;
    }
    Ok(sum / all as f64)
}

fn unreadable(source: TensorReadError) -> Error {
    Error::Evaluation { part: "the loss".to_owned(), source: Box::new(source) }
}

/// The losses so far.
struct Curve {
    rates: Vec<SweepPoint>,
    mean: f64,
    /// The lowest smoothed loss.
    lowest: f64,
}

impl Curve {
    /// Adds the loss at a rate. Returns whether the sweep ends there.
    fn add(&mut self, learning_rate: f64, loss: f64, divergence: f64) -> Option<SweepEnd> {
        self.mean = SMOOTHING * self.mean + (1.0 - SMOOTHING) * loss;
        // The mean begins with 0, which has the weight that is left.
        let smoothed_loss = self.mean / (1.0 - SMOOTHING.powi(self.rates.len() as i32 + 1));
        self.rates.push(SweepPoint { learning_rate, loss, smoothed_loss });
        if !loss.is_finite() {
            return Some(SweepEnd::NotFinite { learning_rate });
        }
        // A loss can be negative.
        let is_far = smoothed_loss - self.lowest > (divergence - 1.0) * self.lowest.abs();
        self.lowest = self.lowest.min(smoothed_loss);
        (is_far && self.rates.len() > 1).then_some(SweepEnd::Diverged { learning_rate })
    }
}

/// A rate that grows by a factor with each step.
#[derive(Clone)]
struct Exponential {
    next: f64,
    growth: f64,
}

impl LrScheduler for Exponential {
    fn step(&mut self) -> f64 {
        let rate = self.next;
        self.next *= self.growth;
        rate
    }

    // It is in no checkpoint.
    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new()
    }

    fn load_record(&mut self, _: LrSchedulerRecord) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f64], divergence: f64) -> (Curve, Option<SweepEnd>) {
        let mut curve = Curve { rates: Vec::new(), mean: 0.0, lowest: f64::INFINITY };
        let ended = losses.iter().find_map(|loss| {
            let rate = curve.rates.len() as f64;
            curve.add(rate, *loss, divergence)
        });
        (curve, ended)
    }

    #[test]
    fn the_smoothed_loss_of_equal_losses_is_that_loss() {
        let (curve, ended) = curve(&[2.5; 50], 4.0);
        assert!(curve.rates.iter().all(|rate| (rate.smoothed_loss - 2.5).abs() < 1e-12));
        assert_eq!(ended, None);
    }

    #[test]
    fn a_sweep_ends_where_the_loss_diverges_or_is_not_finite() {
        let (_, ended) = curve(&[1.0, 0.9, 0.8, 500.0, 900.0], 4.0);
        assert_eq!(ended, Some(SweepEnd::Diverged { learning_rate: 3.0 }));
        let (_, ended) = curve(&[1.0, 0.9, f64::INFINITY], 4.0);
        assert_eq!(ended, Some(SweepEnd::NotFinite { learning_rate: 2.0 }));
        // A log-likelihood that improves, and then rises.
        let (_, ended) = curve(&[-1.0, -2.0, -3.0, -4.0], 4.0);
        assert_eq!(ended, None);
        let (_, ended) = curve(&[-1.0, -2.0, -3.0, 400.0], 4.0);
        assert_eq!(ended, Some(SweepEnd::Diverged { learning_rate: 3.0 }));
    }

    #[test]
    fn settings_that_cannot_be_used_are_named() {
        let finder = LearningRateFinder::new;
        for (wrong, setting) in [
            (finder().with_range(0.0, 1.0), "range"),
            (finder().with_range(1.0, 0.1), "range"),
            (finder().with_range(1e-3, f64::INFINITY), "range"),
            (finder().with_range(f64::NAN, 1.0), "range"),
            (finder().with_steps(1), "steps"),
            (finder().with_divergence(1.0), "divergence"),
            (finder().with_grads_accumulation(0), "grads_accumulation"),
        ] {
            let Error::Config { setting: named, .. } = wrong.check().unwrap_err() else { panic!() };
            assert_eq!(named, setting);
        }
        finder().check().unwrap();
    }
}
