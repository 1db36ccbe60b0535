//! The network: two convolutions with batch normalisation, and two linear layers.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu,
};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use burn_ckpt::FromCheckpoint;

use crate::hparams::DigitsConfig;
use crate::image::{Image, image_tensor};

/// The digits that an image may show.
pub const CLASSES: usize = 10;
/// Whatever the image's size, the convolutions' output is averaged down to this many places on a side.
const POOLED: usize = 4;

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
    /// The untrained network.
    #[must_use]
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

impl FromCheckpoint for Digits {
    type Hparams = DigitsConfig;

    fn from_hparams(hparams: &DigitsConfig, device: &Device) -> Self {
        hparams.init(device)
    }
}

impl Digits {
    /// From images `[batch, 1, side, side]` to logits `[batch, 10]`.
    #[must_use]
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.relu.forward(self.norm1.forward(self.conv1.forward(images)));
        let x = self.relu.forward(self.norm2.forward(self.conv2.forward(x)));
        let x = self.pool.forward(x).flatten(1, 3);
        let x = self.dropout.forward(self.relu.forward(self.hidden.forward(x)));
        self.output.forward(x)
    }

    /// The probability of each digit, for each image. The images are of one size.
    ///
    /// With burn's backend flex an image's probabilities are the same to the last bit whether it is looked at
    /// alone or with others, as long as no linear layer sums more than 512 products: with the default
    /// hyperparameters it is just that many. In wider networks flex sums a batch in another order than a
    /// single image, and the last digits differ.
    #[must_use]
    pub fn classify(&self, images: &[Image]) -> Vec<[f32; CLASSES]> {
        if images.is_empty() {
            return Vec::new();
        }
        probabilities(self.forward(image_tensor(images, &self.conv1.weight.device())))
    }
}

/// From logits `[batch, 10]` to the probability of each digit.
#[must_use]
pub fn probabilities(logits: Tensor<2>) -> Vec<[f32; CLASSES]> {
    let values: Vec<f32> = softmax(logits, 1).into_data().iter::<f32>().collect();
    values.as_chunks().0.to_vec()
}
