//! The smallest training program: a network learns the sine. Started again, it resumes.

use std::f32::consts::TAU;
use std::ops::Range;

use burn::config::Config;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Result, Trainer, TrainerConfig};

fn main() -> Result<()> {
    let hparams = SineConfig::new();
    let config = TrainerConfig::new()
        .with_primary_metric("val_loss") // keeps the best checkpoint, the last one, and the one before a failure
        .with_max_epochs(30)
        .with_run_id("sine")
        .with_ckpt_path("auto"); // resumes from the newest checkpoint, if there is one
    let trainer = Trainer::new(config, &hparams)?;
    let device = trainer.device(Device::flex())?;
    let train = trainer.loader(PointBatcher).batch_size(32).shuffled().build(points(0..1000));
    let valid = trainer.loader(PointBatcher).batch_size(32).build(points(1000..1200));
    let training = trainer.training(train, valid).metrics((MeanLoss::new(),));
    let learner = Learner::new(hparams.init(&device), AdamConfig::new().init_streamed(), 3e-3);
    let result = trainer.fit(training, learner)?;

    // Any program loads it so.
    let Some(best) = result.best() else { return Ok(()) };
    let model = Sine::from_checkpoint(&best.path, &Device::flex())?;
    println!("{}: the sine of 1 is {:.3}", best.path.display(), model.sine(1.0));
    Ok(())
}

/// The hyperparameters. Every checkpoint carries them, and the model is built from them.
#[derive(Config, Debug)]
struct SineConfig {
    #[config(default = 32)]
    hidden: usize,
}

#[derive(Module, Debug)]
struct Sine {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl SineConfig {
    fn init(&self, device: &Device) -> Sine {
        Sine {
            input: LinearConfig::new(1, self.hidden).init(device),
            hidden: LinearConfig::new(self.hidden, self.hidden).init(device),
            output: LinearConfig::new(self.hidden, 1).init(device),
        }
    }
}

impl FromCheckpoint for Sine {
    type Hparams = SineConfig;

    fn from_hparams(hparams: &SineConfig, device: &Device) -> Self {
        hparams.init(device)
    }
}

impl Sine {
    /// From angles to their sines, both `[batch, 1]`.
    fn forward(&self, angles: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.hidden.forward(self.input.forward(angles).tanh()).tanh())
    }

    fn sine(&self, angle: f32) -> f32 {
        self.forward(Tensor::from_floats([[angle]], &Device::flex())).into_scalar()
    }
}

/// Angles and their sines, both `[batch, 1]`.
#[derive(Debug, Clone)]
struct Points {
    angles: Tensor<2>,
    sines: Tensor<2>,
}

impl TrainStep for Sine {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, batch: Points) -> TrainOutput<RegressionOutput> {
        let item = InferenceStep::step(self, batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Sine {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, batch: Points) -> RegressionOutput {
        let output = self.forward(batch.angles);
        let loss = MseLoss::new().forward(output.clone(), batch.sines.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, batch.sines)
    }
}

struct PointBatcher;

impl Batcher<f32, Points> for PointBatcher {
    fn batch(&self, angles: Vec<f32>, device: &Device) -> Points {
        let column = |values: Vec<f32>| {
            let shape = [values.len(), 1];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        let sines = angles.iter().map(|angle| angle.sin()).collect();
        Points { angles: column(angles), sines: column(sines) }
    }
}

/// Angles between 0 and 2π, in no order: steps of the golden ratio's fraction, wrapped around.
fn points(indices: Range<u16>) -> InMemDataset<f32> {
    InMemDataset::new(indices.map(|index| (f32::from(index) * 0.618_034).fract() * TAU).collect())
}
