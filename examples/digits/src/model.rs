//! The network: two convolutions with batch normalisation, and two linear layers.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu,
};
use burn::tensor::{Device, Tensor};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

use burn_trainer::{Error, Result};

use crate::data::{Batch, Data};

const CLASSES: usize = 10;
/// Whatever the image's size, the convolutions' output is averaged down to this many places on a side.
const POOLED: usize = 4;

/// The hyperparameters, which every checkpoint carries.
#[derive(Config, Debug)]
pub struct DigitsConfig {
    /// Channels of the first convolution; the second has twice as many.
    #[config(default = 16)]
    pub channels: usize,
    /// Width of the hidden linear layer.
    #[config(default = 64)]
    pub hidden: usize,
    /// Probability that a hidden value is left out of a training step.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// Images in a training step.
    #[config(default = 32)]
    pub batch_size: usize,
    /// Learning rate of Adam.
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// Batches whose gradients are added up before an optimizer step.
    #[config(default = 1)]
    pub grads_accumulation: usize,
    /// Threads that prepare batches; 0 prepares them in the loop.
    #[config(default = 1)]
    pub num_workers: usize,
    /// The images to train on.
    #[config(default = "Data::Digits")]
    pub data: Data,
}

/// Classifies images of digits.
#[derive(Module, Debug)]
pub struct Digits {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    pool: AdaptiveAvgPool2d,
    hidden: Linear,
    dropout: Dropout,
    output: Linear,
    relu: Relu,
}

impl DigitsConfig {
    /// Checks that a network can be made of it, and trained.
    pub fn check(&self) -> Result<()> {
        let above_0 = [
            ("channels", self.channels),
            ("hidden", self.hidden),
            ("batch_size", self.batch_size),
            ("grads_accumulation", self.grads_accumulation),
        ];
        let wrong = |setting: &str, reason: &str| {
            Err(Error::Config { setting: setting.to_owned(), reason: reason.to_owned() })
        };
        match above_0.iter().find(|(_, value)| *value == 0) {
            Some((setting, _)) => wrong(setting, "it must be above 0"),
            None if !(0.0..1.0).contains(&self.dropout) => wrong("dropout", "it must be from 0 to below 1"),
            None if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) => {
                wrong("learning_rate", "it must be above 0")
            }
            None => Ok(()),
        }
    }

    /// The untrained network.
    pub fn init(&self, device: &Device) -> Digits {
        let (first, second) = (self.channels, 2 * self.channels);
        let conv =
            |from, to| Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Same).init(device);
        Digits {
            conv1: conv(1, first),
            norm1: BatchNormConfig::new(first).init(device),
            conv2: conv(first, second),
            norm2: BatchNormConfig::new(second).init(device),
            pool: AdaptiveAvgPool2dConfig::new([POOLED, POOLED]).init(),
            hidden: LinearConfig::new(second * POOLED * POOLED, self.hidden).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
            output: LinearConfig::new(self.hidden, CLASSES).init(device),
            relu: Relu::new(),
        }
    }
}

impl Digits {
    /// From images `[batch, 1, side, side]` to logits `[batch, 10]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.relu.forward(self.norm1.forward(self.conv1.forward(images)));
        let x = self.relu.forward(self.norm2.forward(self.conv2.forward(x)));
        let x = self.pool.forward(x).flatten(1, 3);
        let x = self.dropout.forward(self.relu.forward(self.hidden.forward(x)));
        self.output.forward(x)
    }

    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new()
            .init(&output.device())
            .forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

impl TrainStep for Digits {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let item = self.classify(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Digits {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}
