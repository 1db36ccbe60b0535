//! The moving average of the parameters.

use std::collections::VecDeque;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;

/// A model, and the moving average of its parameters.
#[derive(Module, Debug)]
pub struct Averaged {
    pub model: Regressor,
    pub average: Regressor,
}

impl FromCheckpoint for Averaged {
    type Hparams = RegressorConfig;

    fn from_hparams(hparams: &RegressorConfig, device: &Device) -> Self {
        let model = Regressor::from_hparams(hparams, device);
        // Built anew: a clone's parameters would have the ids of the model's.
        let average = Regressor::from_hparams(hparams, device).no_grad();
        Self { average: moved(average, &model, 0.0), model }
    }
}

impl TrainStep for Averaged {
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
        let Self { model, average } = optimizer.step(rate, self, grads);
        Self { average: moved(average, &model, 0.999), model }
    }
}

impl InferenceStep for Averaged {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        self.average.regress(batch)
    }
}

/// `decay * average + (1 - decay) * model`, for each floating-point tensor of the two.
fn moved<M: Module>(average: M, model: &M, decay: f64) -> M {
    let mut values = Values(VecDeque::new());
    model.visit(&mut values);
    average.map(&mut Move { values, decay })
}

/// The tensors of a module as vectors, in the order in which they are visited.
struct Values(VecDeque<Tensor<1>>);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(param.val().detach().reshape([-1]));
    }
}

struct Move {
    values: Values,
    decay: f64,
}

impl ModuleMapper for Move {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.0.pop_front() else { return param };
        param.map(|average| {
            let value = value.reshape(average.dims());
            average.detach() * self.decay + value * (1.0 - self.decay)
        })
    }
}

use super::resumes_to_the_same_tensors;
use crate::on_each_backend::from_lightning::{Batch, Regressor, RegressorConfig};

#[test]
fn a_run_with_an_average_resumes_to_the_same_tensors_and_the_average_loads_alone() {
    let root = resumes_to_the_same_tensors::<Averaged>();
    let run = root.path().join("burn_trainer_logs/r1");
    let device = Device::flex();
    let averaged = Averaged::from_checkpoint(run.join("last"), &device).unwrap();
    let loader = Regressor::loader(run.join("last")).remap_keys("^average\\.", "").allow_unused(true);
    let alone = loader.load(&device).unwrap().model;

    let inputs = Tensor::from_floats([[0.1, 0.2, 0.3]], &device);
    let [trained, average, alone] = [&averaged.model, &averaged.average, &alone]
        .map(|it| it.forward(inputs.clone()).into_scalar::<f32>());
    assert_eq!(average, alone);
    assert_ne!(average, trained, "it is not the model's last state");
}

#[test]
fn the_average_moves_by_its_decay() {
    let device = Device::flex();
    let hparams = RegressorConfig::new(1).with_hidden(1);
    let [old, new] = [(); 2].map(|()| Regressor::from_hparams(&hparams, &device));
    let values = |model: &Regressor| {
        let mut values = Values(VecDeque::new());
        model.visit(&mut values);
        values
            .0
            .into_iter()
            .flat_map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let (before, target) = (values(&old), values(&new));
    let after = values(&moved(old, &new, 0.75));
    for ((before, target), after) in before.iter().zip(&target).zip(&after) {
        assert!((after - (0.75 * before + 0.25 * target)).abs() < 1e-6, "{before} {target} {after}");
    }
}

/// The page's last lines.
#[allow(dead_code)]
fn loaded_as_the_page_does(device: Device) -> burn_ckpt::Result<Regressor> {
    let loader = Regressor::loader("runs/a/best").remap_keys("^average\\.", "").allow_unused(true);
    let model = loader.load(&device)?.model;
    Ok(model)
}
