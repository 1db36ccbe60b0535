//! The model and its hyperparameters, for the programs that train it and for those that use it.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use burn_ckpt::FromCheckpoint;

/// The number of spirals.
pub const CLASSES: usize = 2;

/// The hyperparameters. Every checkpoint carries them, and the model is built from them.
#[derive(Config, Debug)]
pub struct ClassifierConfig {
    /// Width of the hidden layers.
    #[config(default = 64)]
    pub hidden: usize,
    /// Points in a training step.
    #[config(default = 32)]
    pub batch_size: usize,
    /// Learning rate of Adam.
    #[config(default = 3e-3)]
    pub learning_rate: f64,
}

/// Says on which spiral a point lies.
#[derive(Module, Debug)]
pub struct Classifier {
    input: Linear,
    hidden: Linear,
    output: Linear,
}

impl ClassifierConfig {
    /// The untrained model.
    pub fn init(&self, device: &Device) -> Classifier {
        Classifier {
            input: LinearConfig::new(2, self.hidden).init(device),
            hidden: LinearConfig::new(self.hidden, self.hidden).init(device),
            output: LinearConfig::new(self.hidden, CLASSES).init(device),
        }
    }
}

impl FromCheckpoint for Classifier {
    type Hparams = ClassifierConfig;

    fn from_hparams(hparams: &ClassifierConfig, device: &Device) -> Self {
        hparams.init(device)
    }
}

impl Classifier {
    /// From points `[batch, 2]` to logits `[batch, CLASSES]`.
    pub fn forward(&self, points: Tensor<2>) -> Tensor<2> {
        let x = relu(self.input.forward(points));
        let x = relu(self.hidden.forward(x));
        self.output.forward(x)
    }

    /// The probability of each spiral for a point.
    pub fn classify(&self, x: f32, y: f32) -> [f32; CLASSES] {
        let point = Tensor::from_floats([[x, y]], &self.input.weight.device());
        let probabilities = softmax(self.forward(point), 1).into_data();
        let mut values = [0.0; CLASSES];
        for (value, probability) in values.iter_mut().zip(probabilities.iter::<f32>()) {
            *value = probability;
        }
        values
    }
}

/// Points as a tensor `[batch, 2]`.
pub fn point_tensor(points: &[[f32; 2]], device: &Device) -> Tensor<2> {
    let values = points.as_flattened().to_vec();
    Tensor::from_data(TensorData::new(values, [points.len(), 2]), device)
}
