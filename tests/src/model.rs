//! A small regression model with batch normalisation, and the things that can be made to go wrong with it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{DatasetError, InMemDataset};
use burn::module::{Module, Param};
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Linear};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};
use burn::train::metric::store::{Aggregate, Direction, Split};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::{
    InferenceStep, Interrupter, Learner, MetricEarlyStoppingStrategy, RegressionOutput, StoppingCondition,
    TrainOutput, TrainStep,
};
use burn_ckpt::FromCheckpoint;
use burn_trainer::ResumableDataLoader;
use burn_trainer::optimizer::InitStreamed;
use serde::{Deserialize, Serialize};

use crate::STEPS_PER_EPOCH;
use crate::backend;

/// Inputs of the model.
const WIDTH: usize = 4;
/// Items in a batch.
pub const BATCH: usize = 8;

/// What is to happen in a run.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The training step (counted from 1) that panics.
    pub panic_in_step: Option<usize>,
    /// The validation step (counted from 1, over the whole run) that panics.
    pub panic_in_validation: Option<usize>,
    /// The training batch (counted from 1, over the whole run) that cannot be loaded.
    pub loader_fails_at: Option<usize>,
    /// The training step at which this is told to stop or to fail.
    pub at_step: Option<(usize, OnStep)>,
    /// Batches that a loader gives in an epoch; [`STEPS_PER_EPOCH`] by default.
    pub batches: Option<usize>,
    /// Width of the hidden layer; 0 is the default of 6.
    pub hidden: usize,
    /// What is done whenever the model is written to a checkpoint.
    pub on_save: Option<OnStep>,
}

/// Something done from within a training step.
#[derive(Clone)]
pub struct OnStep(pub Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for OnStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnStep")
    }
}

impl Script {
    /// What goes into the checkpoints as hyperparameters.
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

/// A layer with some weights, always the same ones: the device's random numbers belong to the process, in which other
/// tests draw and seed too.
fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let scale = 1.0 / (inputs as f32).sqrt();
    let weights = (0..inputs * outputs).map(|i| scale * ((i + 1) as f32 * 12.9898).sin()).collect::<Vec<_>>();
    let weight = Tensor::<2>::from_data(TensorData::new(weights, [inputs, outputs]), device);
    let bias = Tensor::<1>::zeros([outputs], device);
    let (weight, bias) = (Param::from_tensor(weight), Some(Param::from_tensor(bias)));
    Linear { weight, bias }
}

/// What is in the checkpoints as hyperparameters.
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
        let item = self.regress(batch);
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

/// The model with Adam, always the same one.
#[must_use]
pub fn learner(script: Script) -> Learner<Model> {
    let model = Model::new(script, &backend::device().autodiff());
    Learner::new(model, AdamConfig::new().init_streamed(), 1e-2)
}

/// Something that stops training when it is called, with an error if `fails`.
#[must_use]
pub fn stopper(interrupter: Interrupter, fails: bool) -> OnStep {
    OnStep(Arc::new(move || {
        if fails {
            interrupter.fail(dataset_error("somebody called fail"));
        } else {
            interrupter.stop(Some("somebody called stop"));
        }
    }))
}

/// An error as a data loader reports it.
fn dataset_error(text: &str) -> DatasetError {
    DatasetError::new(std::io::Error::other(text.to_owned()))
}

/// A batch of the small model.
#[derive(Debug, Clone)]
pub struct Batch {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

/// An item of the small model's data: inputs, and a target that follows from them.
#[derive(Debug, Clone)]
pub struct Item([f32; WIDTH], f32);

/// As many different items as there are in [`STEPS_PER_EPOCH`] batches.
#[must_use]
pub fn items() -> InMemDataset<Item> {
    let item = |number: usize| {
        let inputs: [f32; WIDTH] = std::array::from_fn(|i| ((number * 31 + i * 17) % 83) as f32 / 83.0);
        Item(inputs, inputs.iter().sum::<f32>() - 1.0)
    };
    InMemDataset::new((0..STEPS_PER_EPOCH * BATCH).map(item).collect())
}

/// Puts items into tensors.
#[derive(Debug, Clone)]
pub struct ItemBatcher;

impl Batcher<Item, Batch> for ItemBatcher {
    fn batch(&self, items: Vec<Item>, device: &Device) -> Batch {
        let count = items.len();
        let inputs: Vec<f32> = items.iter().flat_map(|item| item.0).collect();
        let targets: Vec<f32> = items.iter().map(|item| item.1).collect();
        Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [count, WIDTH]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count, 1]), device),
        }
    }
}

/// A loader that shuffles, whose passes can begin anywhere.
#[must_use]
pub fn shuffling(batch_size: usize) -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(batch_size).shuffle(5).build(items())
}

/// A loader that gives the same batches in every epoch.
#[must_use]
pub fn loader(script: &Script) -> Arc<dyn DataLoader<Batch>> {
    let batches = script.batches.unwrap_or(STEPS_PER_EPOCH);
    Arc::new(Loader {
        device: backend::device(),
        batches,
        fails_at: script.loader_fails_at,
        given: Arc::default(),
    })
}

#[derive(Clone)]
struct Loader {
    device: Device,
    batches: usize,
    fails_at: Option<usize>,
    given: Arc<AtomicUsize>,
}

struct Batches<'a> {
    loader: &'a Loader,
    next: usize,
}

impl DataLoader<Batch> for Loader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Batches { loader: self, next: 0 })
    }

    fn num_items(&self) -> usize {
        self.batches * BATCH
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<Batch>> {
        self.to_device(&self.device)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.loader.batches {
            return None;
        }
        let number = self.next;
        self.next += 1;
        if Some(self.loader.given.fetch_add(1, Ordering::SeqCst) + 1) == self.loader.fails_at {
            return Some(Err(dataset_error("the disk with the data is gone")));
        }
        // Some numbers that differ, and a target that follows from them.
        let value = |i: usize| ((number * 31 + i * 17) % 23) as f32 / 23.0;
        let inputs: Vec<f32> = (0..BATCH * WIDTH).map(value).collect();
        let targets: Vec<f32> = inputs.chunks(WIDTH).map(|row| row.iter().sum::<f32>() - 1.0).collect();
        Some(Ok(Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [BATCH, WIDTH]), &self.loader.device),
            targets: Tensor::from_data(TensorData::new(targets, [BATCH, 1]), &self.loader.device),
        }))
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.next * BATCH, self.loader.batches * BATCH, Some("items".to_owned()))
    }
}

/// A metric with any name, whose value at the end of each epoch is given, and which can fail.
#[derive(Debug, Clone)]
pub struct ScriptedMetric {
    name: MetricName,
    scores: Arc<Mutex<VecDeque<f64>>>,
    value: f64,
    fails: bool,
    attributes: Option<bool>,
}

impl ScriptedMetric {
    /// Lower is better; the values are for the epochs one after the other.
    #[must_use]
    pub fn new(name: &str, scores: &[f64]) -> Self {
        let scores = Arc::new(Mutex::new(scores.iter().copied().collect()));
        Self { name: Arc::new(name.to_owned()), scores, value: 0.0, fails: false, attributes: Some(false) }
    }

    /// Higher is better, or `None`: it does not say.
    #[must_use]
    pub fn higher_is_better(self, attributes: Option<bool>) -> Self {
        Self { attributes, ..self }
    }

    /// Fails whenever it is updated.
    #[must_use]
    pub fn failing(self) -> Self {
        Self { fails: true, ..self }
    }
}

impl Metric for ScriptedMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        match self.attributes {
            Some(higher_is_better) => NumericAttributes { unit: None, higher_is_better }.into(),
            None => MetricAttributes::None,
        }
    }

    fn update(&mut self, (): &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        if self.fails {
            return Err(TensorReadError::InvalidShape { expected: 1, actual: 2 });
        }
        Ok(SerializedEntry::new(self.value.to_string(), self.value.to_string()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let next = self.scores.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.value = next.unwrap_or(self.value);
        Ok(SerializedEntry::new(self.value.to_string(), NumericEntry::Final(self.value).serialize()))
    }

    fn clear(&mut self) {}
}

impl Numeric for ScriptedMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.value))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.value)
    }
}

/// Early stopping after so many epochs without a lower value in the validation.
#[must_use]
pub fn stopping_after(n_epochs: usize, metric: &ScriptedMetric) -> MetricEarlyStoppingStrategy {
    let condition = StoppingCondition::NoImprovementSince { n_epochs };
    MetricEarlyStoppingStrategy::new(metric, Aggregate::Mean, Direction::Lowest, Split::Valid, condition)
}
