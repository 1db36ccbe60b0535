//! What training asks of the model: a step with gradients, one of validation, and the optimizer with its
//! schedule.
//!
//! The steps are burn's traits for this crate's type, so they cannot stand in the training program.

use burn::grad_clipping::GradientClippingConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::train::{InferenceStep, SequenceOutput, TrainOutput, TrainStep};
use burn_trainer::lr_scheduler::WarmupCosine;
use burn_trainer::optimizer::InitStreamed;

use crate::dataset::Batch;
use crate::hparams::CharLmConfig;
use crate::model::CharLm;

impl CharLm {
    fn compare(&self, batch: Batch) -> SequenceOutput {
        let logits = self.forward(batch.texts);
        let loss = CrossEntropyLossConfig::new()
            .init(&logits.device())
            .forward(logits.clone().flatten(0, 1), batch.next.clone().flatten(0, 1));
        SequenceOutput::new(loss, logits, None, batch.next)
    }
}

impl TrainStep for CharLm {
    type Input = Batch;
    type Output = SequenceOutput;

    fn step(&self, batch: Batch) -> TrainOutput<SequenceOutput> {
        let item = self.compare(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for CharLm {
    type Input = Batch;
    type Output = SequenceOutput;

    fn step(&self, batch: Batch) -> SequenceOutput {
        self.compare(batch)
    }
}

impl CharLmConfig {
    /// AdamW, with gradients clipped: burn clips each parameter's on its own, and not their common norm.
    #[must_use]
    pub fn optimizer(&self) -> ModuleOptimizer {
        AdamWConfig::new()
            .with_beta_2(0.99)
            .with_epsilon(1e-8)
            .with_weight_decay(self.weight_decay as f32)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(self.clip_norm as f32)))
            .init_streamed()
    }

    /// The learning rate: it rises in equal steps, falls along a cosine, and then stays. A run that resumes
    /// with more epochs continues where the longer schedule is at that step.
    #[must_use]
    pub fn schedule(&self, epochs: usize) -> WarmupCosine {
        let steps = self.schedule_steps.unwrap_or_else(|| self.steps_per_epoch().saturating_mul(epochs));
        let warmup = (self.warmup_share * steps as f64).round() as u64;
        let top = self.top_learning_rate();
        WarmupCosine::new(top, steps as u64).with_warmup_steps(warmup).with_floor(top * self.final_share)
    }
}

#[cfg(test)]
mod tests {
    use burn::lr_scheduler::LrScheduler;

    use super::*;

    fn rates(config: &CharLmConfig, epochs: usize, steps: usize) -> Vec<f64> {
        let mut schedule = config.schedule(epochs);
        (0..steps).map(|_| schedule.step()).collect()
    }

    #[test]
    fn the_rate_rises_falls_along_a_cosine_and_stays() {
        let config =
            CharLmConfig::new().with_windows_per_epoch(80).with_batch_size(4).with_learning_rate(Some(1.0));
        // 20 steps an epoch, 40 in all, of which 4 are the warm-up.
        let rates = rates(&config, 2, 50);
        for (step, rate) in rates.iter().enumerate() {
            let expected = match step {
                0..4 => 0.25 * (step + 1) as f64,
                4..40 => 0.55 + 0.45 * ((step - 4) as f64 / 36.0 * std::f64::consts::PI).cos(),
                _ => 0.1,
            };
            assert!((rate - expected).abs() < 1e-12, "{step}: {rate} {expected}");
        }
    }

    #[test]
    fn any_number_of_steps_makes_a_schedule() {
        for (steps, share) in [(1, 0.1), (2, 0.0), (2, 1.0), (3, 0.5), (usize::MAX, 0.1)] {
            let config = CharLmConfig::new().with_schedule_steps(Some(steps)).with_warmup_share(share);
            let rates = rates(&config, 1, 5);
            assert!(rates.iter().all(|rate| *rate > 0.0 && *rate <= 2e-3), "{steps} {share}: {rates:?}");
        }
    }
}
