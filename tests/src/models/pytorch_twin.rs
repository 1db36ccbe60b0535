//! A small module with one of each layer that burn and PyTorch have in different ways; its twin is in
//! `tests/python/net.py`.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
    LinearLayout,
};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use serde_json::{Value, json};

use crate::backend;

/// Items in the inputs.
const ITEMS: usize = 3;
/// Tokens of an item.
const TOKENS: usize = 3;
/// Pixels of an item.
const PIXELS: usize = 25;

/// A module with an embedding, a convolution, two normalisations, linear layers, a list and an enum.
#[derive(Module, Debug)]
pub struct Net {
    embed: Embedding,
    conv: Conv2d,
    norm2d: BatchNorm,
    project: Linear,
    square: Linear,
    layers: Vec<Linear>,
    gate: Gate,
    norm: LayerNorm,
    out: Linear,
}

/// A module in variants, of which PyTorch's names know nothing.
#[derive(Module, Debug)]
pub enum Gate {
    /// Multiplies by a number from 0 to 1.
    Linear(Linear),
    /// Lets everything through.
    Open(Open),
}

/// A module without parameters.
#[derive(Module, Debug)]
pub struct Open;

impl Net {
    /// A fresh module; its weights are random.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            embed: EmbeddingConfig::new(7, 4).init(device),
            conv: Conv2dConfig::new([1, 3], [3, 3]).init(device),
            norm2d: BatchNormConfig::new(3).init(device),
            project: LinearConfig::new(27, 4).init(device),
            square: LinearConfig::new(4, 4).init(device),
            layers: vec![LinearConfig::new(4, 6).init(device), LinearConfig::new(6, 4).init(device)],
            // Kept the other way round, which its shape does not tell either.
            gate: Gate::Linear(LinearConfig::new(4, 4).with_layout(LinearLayout::Col).init(device)),
            norm: LayerNormConfig::new(4).init(device),
            out: LinearConfig::new(4, 2).init(device),
        }
    }

    /// A module after a few steps of training, as it is for validation: nothing in it is as it was.
    #[must_use]
    pub fn trained() -> Self {
        let device = backend::device().autodiff();
        let mut net = Self::new(&device);
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..5 {
            let inputs = Inputs::new();
            let loss = (net.forward(&inputs, &device) - 1.0).powi_scalar(2).mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = optimizer.step(0.1, net, gradients);
        }
        net.valid()
    }

    /// The outputs, one row after the other.
    #[must_use]
    pub fn outputs(&self, inputs: &Inputs) -> Vec<f64> {
        let outputs = self.forward(inputs, &backend::device()).into_data().convert::<f64>();
        outputs.try_to_vec().unwrap_or_else(|error| panic!("the outputs cannot be read: {error}"))
    }

    fn forward(&self, inputs: &Inputs, device: &Device) -> Tensor<2> {
        let tokens =
            Tensor::<2, Int>::from_data(TensorData::new(inputs.tokens.clone(), [ITEMS, TOKENS]), device);
        let images = Tensor::<4>::from_data(TensorData::new(inputs.images.clone(), [ITEMS, 1, 5, 5]), device);
        let x = self.embed.forward(tokens).mean_dim(1).squeeze_dim::<2>(1);
        let y = activation::relu(self.norm2d.forward(self.conv.forward(images)));
        let y = y.flatten::<2>(1, 3);
        let z = x + self.square.forward(activation::tanh(self.project.forward(y)));
        let z = z.clone() + self.layers[1].forward(activation::relu(self.layers[0].forward(z)));
        let z = match &self.gate {
            Gate::Linear(gate) => z.clone() * activation::sigmoid(gate.forward(z)),
            Gate::Open(_) => z,
        };
        self.out.forward(self.norm.forward(z))
    }
}

/// What the module and its twin compute on; always the same.
#[derive(Debug, Clone)]
pub struct Inputs {
    tokens: Vec<i64>,
    images: Vec<f32>,
}

impl Inputs {
    /// Some numbers that differ.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "they are not a default of anything")]
    pub fn new() -> Self {
        let tokens = (0..ITEMS * TOKENS).map(|i| (i * 5 % 7) as i64).collect();
        let images = (0..ITEMS * PIXELS).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
        Self { tokens, images }
    }

    /// As the scripts read them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let tokens: Vec<&[i64]> = self.tokens.chunks(TOKENS).collect();
        json!({ "tokens": tokens, "images": self.images })
    }
}

/// Checks that what burn and PyTorch compute is the same.
///
/// # Panics
///
/// When it is not.
pub fn assert_same_outputs(ours: &[f64], theirs: &Value) {
    let theirs: Vec<f64> = serde_json::from_value(theirs.clone()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0), "{ours} here, {theirs} in PyTorch");
    }
    // All the same number would say nothing.
    assert!(ours.iter().any(|output| (output - ours[0]).abs() > 1e-3), "{ours:?}");
}
