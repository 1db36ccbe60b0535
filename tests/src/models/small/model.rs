//! The model, and the script of what happens in its run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{Module, Param};
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, Interrupter, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;
use burn_trainer::optimizer::InitStreamed;
use serde::{Deserialize, Serialize};

use super::data::{Batch, WIDTH, dataset_error};
use crate::backend;

/// What happens in a run.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The training step (counted from 1) that panics.
    pub panic_in_step: Option<usize>,
    /// The most items in the batch of a training step; one with more panics with this message.
    pub panic_above: Option<(usize, &'static str)>,
    /// The validation step (counted from 1, over the whole run) that panics.
    pub panic_in_validation: Option<usize>,
    /// The training batch (counted from 1, over the whole run) that cannot be loaded.
    pub loader_fails_at: Option<usize>,
    /// A training step (counted from 1), and what is done in it.
    pub at_step: Option<(usize, OnStep)>,
    /// Batches that a loader gives in an epoch; [`STEPS_PER_EPOCH`](super::STEPS_PER_EPOCH) by default.
    pub batches: Option<usize>,
    /// Width of the hidden layer; 0 is the default of 6.
    pub hidden: usize,
    /// What is done whenever the model is written to a checkpoint.
    pub on_save: Option<OnStep>,
}

/// An action within a training step or a save.
#[derive(Clone)]
pub struct OnStep(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for OnStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnStep")
    }
}

impl Script {
    /// The hyperparameters of the checkpoints.
    #[must_use]
    pub fn hparams(&self) -> ModelHparams {
        ModelHparams { width: WIDTH, hidden: self.hidden() }
    }

    fn hidden(&self) -> usize {
        if self.hidden == 0 { 6 } else { self.hidden }
    }
}

/// Two linear layers around a batch normalisation.
#[derive(Module, Debug)]
pub struct Model {
    input: Linear,
    norm: BatchNorm,
    output: Linear,
    #[module(skip)]
    script: Script,
    #[module(skip)]
    steps: Arc<AtomicUsize>,
    #[module(skip)]
    validations: Arc<AtomicUsize>,
}

/// A layer whose weights are always the same. They are not drawn, because all tests of a process share the
/// device's random stream.
fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let scale = 1.0 / (inputs as f32).sqrt();
    let weights = (0..inputs * outputs).map(|i| scale * ((i + 1) as f32 * 12.9898).sin()).collect::<Vec<_>>();
    let weight = Tensor::<2>::from_data(TensorData::new(weights, [inputs, outputs]), device);
    let bias = Tensor::<1>::zeros([outputs], device);
    let (weight, bias) = (Param::from_tensor(weight), Some(Param::from_tensor(bias)));
    Linear { weight, bias }
}

/// The hyperparameters in the checkpoints.
#[derive(Debug, Serialize, Deserialize)]
pub struct ModelHparams {
    /// Inputs.
    pub width: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
}

impl FromCheckpoint for Model {
    type Hparams = ModelHparams;

    fn from_hparams(hparams: &ModelHparams, device: &Device) -> Self {
        Self::new(Script { hidden: hparams.hidden, ..Script::default() }, device)
    }
}

impl Model {
    /// A fresh model.
    #[must_use]
    pub fn new(script: Script, device: &Device) -> Self {
        let hidden = script.hidden();
        let mut input = linear(WIDTH, hidden, device);
        if let Some(OnStep(action)) = script.on_save.clone() {
            input.weight = input.weight.save_mapper(move |weight| {
                action();
                weight
            });
        }
        Self {
            input,
            norm: BatchNormConfig::new(hidden).init(device),
            output: linear(hidden, 1, device),
            script,
            steps: Arc::default(),
            validations: Arc::default(),
        }
    }

    /// From inputs `[batch, 4]` to outputs `[batch, 1]`.
    #[must_use]
    pub fn predict(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.norm.forward(self.input.forward(inputs)))
    }

    fn regress(&self, batch: Batch) -> RegressionOutput {
        let output = self.predict(batch.inputs);
        let loss = MseLoss::new().forward(output.clone(), batch.targets.clone(), Reduction::Mean);
        RegressionOutput { loss, output, targets: batch.targets }
    }
}

impl TrainStep for Model {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> TrainOutput<RegressionOutput> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        let items = batch.inputs.dims()[0];
        let item = self.regress(batch);
        if let Some((most, message)) = self.script.panic_above {
            assert!(items <= most, "{message}");
        }
        // After the forward pass, when running statistics have been updated already.
        assert!(self.script.panic_in_step != Some(step), "the step {step} was told to panic");
        if let Some((at, action)) = &self.script.at_step
            && *at == step
        {
            (action.0)();
        }
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = RegressionOutput;

    fn step(&self, batch: Batch) -> RegressionOutput {
        let step = self.validations.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(
            self.script.panic_in_validation != Some(step),
            "the validation step {step} was told to panic"
        );
        self.regress(batch)
    }
}

/// The model with Adam. It always starts with the same weights.
#[must_use]
pub fn learner(script: Script) -> Learner<Model> {
    let model = Model::new(script, &backend::device().autodiff());
    Learner::new(model, AdamConfig::new().init_streamed(), 1e-2)
}

/// An action that stops training, with an error if `fails`.
#[must_use]
pub fn stopper(interrupter: Interrupter, fails: bool) -> OnStep {
    OnStep(Arc::new(move || {
        if fails {
            interrupter.fail(dataset_error("the test called fail"));
        } else {
            interrupter.stop(Some("the test called stop"));
        }
    }))
}
