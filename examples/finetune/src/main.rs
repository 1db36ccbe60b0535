//! Pretrains a network on many points of the sine, and fine-tunes it on a few points of the cosine: its first
//! layers are frozen, the last one is new, the parameters are averaged, and the best average is evaluated.
//! Started again, it resumes.

use std::f32::consts::TAU;
use std::ops::Range;
use std::sync::Arc;

use burn::config::Config;
use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, Learner, RegressionOutput, TrainOutput, TrainStep};
use burn_trainer::burn_ckpt::FromCheckpoint;
use burn_trainer::callbacks::Ema;
use burn_trainer::config::EndWith;
use burn_trainer::evaluation::ModelEvaluator;
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};

fn main() -> Result<()> {
    check_arguments();
    let pretrained = train("pretrain", f32::sin, 800, |hparams, device| Ok(hparams.init(device)))?;
    let tuned = train("finetune", f32::cos, 200, |hparams, device| {
        let Wave { input, hidden, .. } = pretrained.best_model(device)?;
        let output = hparams.init(device).output;
        Ok(Wave { input: input.freeze(), hidden: hidden.freeze(), output })
    })?;

    // On points that neither trained nor chose the best.
    let averaged = Wave::loader(tuned.run_dir.join("best")).part("ema").load(&Device::flex())?;
    let evaluation =
        ModelEvaluator::of_loaded(&averaged)?.evaluate(points(f32::cos, 1200..1400), (MeanLoss::new(),))?;
    let kept = evaluation.keep()?;
    println!(
        "test_loss {:.6} on {} points: {}",
        evaluation.metrics["test_loss"],
        evaluation.items,
        kept.display()
    );
    println!("the cosine of 1 is {:.3}", averaged.model.at(1.0));
    Ok(())
}

/// Trains on so many points of a wave, and returns the best model.
fn train(
    run_id: &str,
    wave: fn(f32) -> f32,
    count: u16,
    init: impl FnOnce(&WaveConfig, &Device) -> Result<Wave>,
) -> Result<FitResult<Wave>> {
    let hparams = WaveConfig::new();
    let config = TrainerConfig::new()
        .with_primary_metric("val_loss")
        .with_end_with(EndWith::Best)
        .with_max_epochs(40)
        .with_run_id(run_id)
        .with_ckpt_path("auto");
    let trainer = Trainer::new(config, &hparams)?.callback(Ema::new(0.95));
    let device = trainer.device(Device::flex())?;
    let train = trainer.loader(PointBatcher { wave }).batch_size(16).shuffled().build(angles(0..count));
    let training = trainer.training(train, points(wave, 1000..1200)).metrics((MeanLoss::new(),));
    let learner = Learner::new(init(&hparams, &device)?, AdamConfig::new().init_streamed(), 1e-2);
    trainer.fit(training, learner)
}

/// The hyperparameters. Every checkpoint carries them, and the model is built from them.
#[derive(Config, Debug)]
struct WaveConfig {
    #[config(default = 32)]
    hidden: usize,
}

#[derive(Module, Debug)]
struct Wave {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl WaveConfig {
    fn init(&self, device: &Device) -> Wave {
        Wave {
            input: LinearConfig::new(1, self.hidden).init(device),
            hidden: LinearConfig::new(self.hidden, self.hidden).init(device),
            output: LinearConfig::new(self.hidden, 1).init(device),
        }
    }
}

impl FromCheckpoint for Wave {
    type Hparams = WaveConfig;

    fn from_hparams(hparams: &WaveConfig, device: &Device) -> Self {
        hparams.init(device)
    }
}

impl Wave {
    /// From angles to values, both `[batch, 1]`.
    fn forward(&self, angles: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.hidden.forward(self.input.forward(angles).tanh()).tanh())
    }

    fn at(&self, angle: f32) -> f32 {
        self.forward(Tensor::from_floats([[angle]], &Device::flex())).into_scalar()
    }
}

/// Angles and the wave's values there, both `[batch, 1]`.
#[derive(Debug, Clone)]
struct Points {
    angles: Tensor<2>,
    values: Tensor<2>,
}

impl TrainStep for Wave {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, batch: Points) -> TrainOutput<RegressionOutput> {
        let item = InferenceStep::step(self, batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Wave {
    type Input = Points;
    type Output = RegressionOutput;

    fn step(&self, batch: Points) -> RegressionOutput {
        let output = self.forward(batch.angles);
        let loss = MseLoss::new().forward(output.clone(), batch.values.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, batch.values)
    }
}

struct PointBatcher {
    wave: fn(f32) -> f32,
}

impl Batcher<f32, Points> for PointBatcher {
    fn batch(&self, angles: Vec<f32>, device: &Device) -> Points {
        let column = |values: Vec<f32>| {
            let shape = [values.len(), 1];
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        let values = angles.iter().copied().map(self.wave).collect();
        Points { angles: column(angles), values: column(values) }
    }
}

/// Points of a wave that are not trained on.
fn points(wave: fn(f32) -> f32, indices: Range<u16>) -> Arc<dyn DataLoader<Points>> {
    ResumableDataLoader::builder(PointBatcher { wave }).batch_size(64).build(angles(indices))
}

/// Angles between 0 and 2π, in no order: steps of the golden ratio's fraction, wrapped around.
fn angles(indices: Range<u16>) -> InMemDataset<f32> {
    InMemDataset::new(indices.map(|index| (f32::from(index) * 0.618_034).fract() * TAU).collect())
}

/// Ends the program if it is given an argument, as it has none: it would be ignored.
fn check_arguments() {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: finetune (it takes no arguments: its settings are in main.rs)");
        std::process::exit(2);
    }
}
