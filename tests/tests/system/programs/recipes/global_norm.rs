//! Clipping by the norm of all gradients.

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

/// Scales all gradients by one factor, so that their common norm is at most `max_norm`.
pub fn clip_by_global_norm<M: Module>(model: &M, grads: GradientsParams, max_norm: f64) -> GradientsParams {
    let mut squares = SumOfSquares { grads: &grads, sum: None };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else { return grads };
    let factor = (sum.sqrt() + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0);
    let mut scale = Scale { grads, factor };
    model.visit(&mut scale);
    scale.grads
}

struct SumOfSquares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let squares = grad.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

struct Scale {
    grads: GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.factor.clone().unsqueeze());
        }
    }
}

use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use burn::train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;

use super::resumes_to_the_same_tensors;
use crate::on_each_backend::from_lightning::{Batch, Regressor, RegressorConfig};

/// The page's model, whose `optimize` clips.
#[derive(Module, Debug)]
struct Clipped {
    model: Regressor,
}

impl FromCheckpoint for Clipped {
    type Hparams = RegressorConfig;

    fn from_hparams(hparams: &RegressorConfig, device: &Device) -> Self {
        Self { model: Regressor::from_hparams(hparams, device) }
    }
}

impl TrainStep for Clipped {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let item = self.model.regress(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let grads = clip_by_global_norm(&self, grads, 1.0);
        optimizer.step(rate, self, grads)
    }
}

impl InferenceStep for Clipped {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.model.regress(batch)
    }
}

/// The gradients of a layer that maps [3, 4] to one number, times a factor: 3 and 4 for the weight, 1 for the bias.
fn clipped(factor: f32, max_norm: f64) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let layer: Linear = LinearConfig::new(2, 1).init(&device);
    let output = layer.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device)).sum() * factor;
    let grads = GradientsParams::from_grads(output.backward(), &layer);
    let grads = clip_by_global_norm(&layer, grads, max_norm);
    let weight = grads.get::<2>(layer.weight.id).unwrap().into_data();
    let bias = grads.get::<1>(layer.bias.as_ref().unwrap().id).unwrap().into_data();
    weight.iter::<f32>().chain(bias.iter::<f32>()).collect()
}

#[test]
fn longer_gradients_are_scaled_to_the_norm_together_and_shorter_ones_stay() {
    assert_eq!(clipped(1.0, 100.0), [3.0, 4.0, 1.0]);
    let norm = 26.0_f32.sqrt();
    for (found, expected) in clipped(10.0, 2.0).into_iter().zip([3.0, 4.0, 1.0]) {
        assert!((found - expected * 2.0 / norm).abs() < 1e-4, "{found}");
    }
}

#[test]
fn a_run_that_clips_resumes_to_the_same_tensors() {
    resumes_to_the_same_tensors::<Clipped>();
}
