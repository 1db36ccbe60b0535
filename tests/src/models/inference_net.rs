//! A small model with hyperparameters of burn's `Config`, as a program that loads it has it.

use std::path::{Path, PathBuf};

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_ckpt::{Contents, FromCheckpoint, Metadata, Section};
use jiff::Timestamp;

use crate::backend;

/// Inputs of the network.
pub const INPUTS: usize = 4;

/// The hyperparameters.
#[derive(Config, Debug, PartialEq)]
pub struct NetConfig {
    /// Width of the hidden layer.
    pub width: usize,
    /// Probability that a hidden value is left out.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// A hidden layer with batch normalisation and dropout, and an output.
#[derive(Module, Debug)]
pub struct Net {
    /// The hidden layer.
    pub hidden: Linear,
    /// Its normalisation.
    pub norm: BatchNorm,
    /// Its dropout.
    pub dropout: Dropout,
    /// The output.
    pub output: Linear,
}

impl FromCheckpoint for Net {
    type Hparams = NetConfig;

    fn from_hparams(hparams: &NetConfig, device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(INPUTS, hparams.width).init(device),
            norm: BatchNormConfig::new(hparams.width).init(device),
            dropout: DropoutConfig::new(hparams.dropout).init(),
            output: LinearConfig::new(hparams.width, 1).init(device),
        }
    }
}

impl Net {
    /// A network as if it had been trained: every value is another one, and always the same.
    #[must_use]
    pub fn trained(config: &NetConfig) -> Self {
        let device = backend::device();
        let mut net = Self::from_hparams(config, &device);
        net.hidden = linear(INPUTS, config.width, 1.0);
        net.output = linear(config.width, 1, 2.0);
        net.norm.gamma = values([config.width], 3.0);
        net.norm.beta = values([config.width], 4.0);
        net
    }

    /// Whether two networks have the same parameters, bit for bit.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        bytes(self) == bytes(other)
    }
}

/// Writes a checkpoint of a network, and beside the weights a section of the program's own.
///
/// # Panics
///
/// When it cannot be written.
#[must_use]
pub fn save(directory: &Path, net: &Net, config: &NetConfig) -> PathBuf {
    let path = directory.join("net.ckpt");
    let contents = Contents::new(config).unwrap_or_else(|error| panic!("{error}"));
    let ema = Section::from_module(&linear(64, 64, 5.0));
    let contents =
        contents.with_section(Section::MODEL, Section::from_module(net)).with_section("user.ema", ema);
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap_or_else(|error| panic!("{error}"));
    path
}

/// The names of a module's tensors, and their bytes.
#[must_use]
pub fn bytes<M: Module>(module: &M) -> Vec<(String, Vec<u8>)> {
    let read = |tensor: burn_ckpt::burn_pack::Tensor| {
        let bytes = tensor.to_bytes().unwrap_or_else(|error| panic!("{}: {error}", tensor.name));
        (tensor.name, bytes.to_vec())
    };
    Section::from_module(module).tensors.into_iter().map(read).collect()
}

fn linear(inputs: usize, outputs: usize, seed: f32) -> Linear {
    Linear { weight: values([inputs, outputs], seed), bias: Some(values([outputs], seed + 0.5)) }
}

fn values<const D: usize>(shape: [usize; D], seed: f32) -> Param<Tensor<D>> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|i| (seed * 78.233 + (i + 1) as f32 * 12.9898).sin()).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &backend::device()))
}
