//! The training job: as many independent linear layers as the case has matrices, all on one batch, with Adam.
//! It computes little for each byte of state, so that the cost of a save is visible.
//!
//! `peers/job.py` has the same job: change both.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::{Initializer, Module, ModuleVisitor, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::checkpoint::case::Case;
use crate::checkpoint::measurement::{Moment, now};
use crate::program::Result;

/// Rows of the batch.
const ROWS: usize = 64;
/// So small that the weights hardly change during a measurement: no value vanishes.
const LEARNING_RATE: f64 = 1e-5;

/// Independent linear layers without bias.
#[derive(Module, Debug)]
pub struct Layers {
    weights: Vec<Param<Tensor<2>>>,
}

/// The hyperparameters in the checkpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayersHparams {
    /// Matrices.
    pub layers: usize,
    /// Rows and columns.
    pub width: usize,
}

/// A model that notes when each of its steps begins, which is the same place in every training loop.
#[derive(Module, Debug)]
pub struct Clocked<M: Module> {
    model: M,
    #[module(skip)]
    clock: Clock,
}

/// When steps began, and validations ended.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Moments>>);

/// What a [`Clock`] noted.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    /// A training step began.
    pub begins: Vec<Moment>,
    /// A validation step ended.
    pub validated: Vec<Moment>,
}

impl Clock {
    /// The moments noted so far.
    #[must_use]
    pub fn moments(&self) -> Moments {
        self.0.lock().clone()
    }

    fn begin(&self) {
        self.0.lock().begins.push(now());
    }

    fn validated(&self) {
        self.0.lock().validated.push(now());
    }
}

impl<M: Module> Clocked<M> {
    /// The model, and the clock to read.
    #[must_use]
    pub fn new(model: M) -> (Self, Clock) {
        let clock = Clock::default();
        (Self { model, clock: clock.clone() }, clock)
    }
}

impl<M: Module + TrainStep> TrainStep for Clocked<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, batch: M::Input) -> TrainOutput<M::Output> {
        self.clock.begin();
        self.model.step(batch)
    }
}

impl<M: Module + InferenceStep> InferenceStep for Clocked<M> {
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, batch: M::Input) -> M::Output {
        let output = self.model.step(batch);
        self.clock.validated();
        output
    }
}

impl Layers {
    /// With fresh weights.
    #[must_use]
    pub fn new(hparams: &LayersHparams, device: &Device) -> Self {
        let &LayersHparams { layers, width } = hparams;
        let bound = 1.0 / (width as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Self { weights: (0..layers).map(|_| uniform.init([width, width], device)).collect() }
    }

    /// The mean over the layers of the mean square of their outputs.
    fn loss(&self, batch: &Tensor<2>) -> Tensor<1> {
        let losses = self.weights.iter().map(|weight| batch.clone().matmul(weight.val()).square().mean());
        let sum = losses.reduce(|sum, loss| sum + loss);
        sum.map_or_else(|| Tensor::zeros([1], &batch.device()), |sum| sum / self.weights.len() as f64)
    }

    fn regress(&self, batch: Tensor<2>) -> RegressionOutput {
        // The metrics look at the loss alone.
        let (loss, nothing) = (self.loss(&batch), batch.slice([0..1, 0..1]));
        RegressionOutput { loss, output: nothing.clone(), targets: nothing }
    }
}

impl TrainStep for Layers {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, batch: Tensor<2>) -> TrainOutput<RegressionOutput> {
        let item = self.regress(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Layers {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, batch: Tensor<2>) -> RegressionOutput {
        self.regress(batch)
    }
}

impl FromCheckpoint for Clocked<Layers> {
    type Hparams = LayersHparams;

    fn from_hparams(hparams: &LayersHparams, device: &Device) -> Self {
        Self::new(Layers::new(hparams, device)).0
    }
}

impl LayersHparams {
    /// Those of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        Self { layers: case.layers, width: case.width }
    }
}

/// The model of a case with an optimizer.
#[must_use]
pub fn learner(case: &Case, optimizer: ModuleOptimizer) -> (Learner<Clocked<Layers>>, Clock) {
    let device = Device::flex().autodiff();
    device.seed(42);
    let (model, clock) = Clocked::new(Layers::new(&LayersHparams::of(case), &device));
    (Learner::new(model, optimizer, LEARNING_RATE), clock)
}

/// A loader that gives the same batch so many times.
#[must_use]
pub fn loader(case: &Case, batches: usize) -> Arc<dyn DataLoader<Tensor<2>>> {
    let value = |i: usize| (((i + 1) as f64 * 12.9898).sin() * 43_758.545).fract() as f32;
    let values = (0..ROWS * case.width).map(value).collect::<Vec<_>>();
    let batch = Tensor::from_data(TensorData::new(values, [ROWS, case.width]), &Device::flex());
    Arc::new(Same { batch, batches })
}

struct Same {
    batch: Tensor<2>,
    batches: usize,
}

struct SameAgain<'a> {
    loader: &'a Same,
    given: usize,
}

impl DataLoader<Tensor<2>> for Same {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Tensor<2>> + 'a> {
        Box::new(SameAgain { loader: self, given: 0 })
    }

    fn num_items(&self) -> usize {
        self.batches
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Tensor<2>>> {
        Arc::new(Self { batch: self.batch.clone().to_device(device), batches: self.batches })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Tensor<2>>> {
        Arc::new(Self { batch: self.batch.clone(), batches: end - start })
    }
}

impl Iterator for SameAgain<'_> {
    type Item = Result<Tensor<2>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let more = self.given < self.loader.batches;
        self.given += usize::from(more);
        more.then(|| Ok(self.loader.batch.clone()))
    }
}

impl DataLoaderIterator<Tensor<2>> for SameAgain<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.given, self.loader.batches, Some("items".to_owned()))
    }
}

/// The values of every parameter.
#[must_use]
pub fn parameters<M: Module>(model: &M) -> Vec<TensorData> {
    let mut all = Parameters(Vec::new());
    model.visit(&mut all);
    all.0
}

struct Parameters(Vec<TensorData>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data());
    }
}

/// Reads every value of a tensor, as a program that uses it does.
#[must_use]
pub fn touch(tensor: TensorData) -> u64 {
    let words = tensor.as_bytes().chunks_exact(8);
    words.fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(word.try_into().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::AdamConfig;

    #[test]
    fn a_model_has_the_bytes_of_its_case() {
        let case: Case = "1MB/10".parse().unwrap();
        let (learner, _) = learner(&case, AdamConfig::new().init());
        let bytes: usize = parameters(&learner.model()).iter().map(|data| data.as_bytes().len()).sum();
        assert_eq!(bytes as u64, case.model_bytes());
    }

    #[test]
    fn the_loss_is_the_mean_square_of_all_outputs() {
        let device = Device::flex();
        let hparams = LayersHparams { layers: 3, width: 4 };
        let model = Layers::new(&hparams, &device);
        let batch = Tensor::<2>::from_data([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, 2.0, -1.0]], &device);
        let weights: Vec<Vec<f32>> =
            parameters(&model).iter().map(|data| data.clone().try_into_vec().unwrap()).collect();
        let rows = [[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, 2.0, -1.0]];
        let outputs = weights.iter().flat_map(|weight| {
            rows.iter().flat_map(move |row| {
                (0..4).map(move |column| (0..4).map(|i| row[i] * weight[i * 4 + column]).sum::<f32>())
            })
        });
        let squares: Vec<f32> = outputs.map(|output| output * output).collect();
        let expected = squares.iter().sum::<f32>() / squares.len() as f32;
        let loss: f32 = model.loss(&batch).into_scalar();
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    }
}
