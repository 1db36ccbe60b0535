//! The images: the handwritten digits in `data/`, or MNIST by burn's loader, split into train and validation.

use std::io::Read;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_trainer::{Error, Result};
use clap::ValueEnum;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
/// Pixels on one side of an image in `data/`.
const SIDE: usize = 8;
/// The value of a pixel full of ink.
const INK: f32 = 16.0;
/// Every fifth image, in an order that never changes, is for validation.
const VALIDATION_SHARE: usize = 5;
const SPLIT_SEED: u64 = 0;

/// Which images to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// 1,797 images of 8x8, which are part of the program
    Digits,
    /// 70,000 images of 28x28, which burn downloads
    Mnist,
}

/// One image, row by row, from 0 to 1, and the digit it shows.
#[derive(Debug, Clone)]
pub struct Image {
    /// The pixels.
    pub pixels: Vec<f32>,
    /// The digit.
    pub label: i64,
}

/// Images for a training step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Shape `[batch, 1, side, side]`.
    pub images: Tensor<4>,
    /// Shape `[batch]`.
    pub labels: Tensor<1, Int>,
}

/// Puts images into tensors.
#[derive(Debug, Clone, Default)]
pub struct ImageBatcher;

impl Batcher<Image, Batch> for ImageBatcher {
    fn batch(&self, items: Vec<Image>, device: &Device) -> Batch {
        let count = items.len();
        let labels: Vec<i64> = items.iter().map(|image| image.label).collect();
        let pixels: Vec<f32> = items.into_iter().flat_map(|image| image.pixels).collect();
        let side = (pixels.len() / count.max(1)).isqrt();
        Batch {
            images: Tensor::from_data(TensorData::new(pixels, [count, 1, side, side]), device),
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
        }
    }
}

/// The images for training, and those for validation.
pub fn load(data: Data) -> Result<(InMemDataset<Image>, InMemDataset<Image>)> {
    match data {
        Data::Digits => digits(),
        Data::Mnist => mnist(),
    }
}

fn digits() -> Result<(InMemDataset<Image>, InMemDataset<Image>)> {
    let unreadable = |reason: String| Error::Config { setting: "data/digits.csv.gz".to_owned(), reason };
    let mut text = String::new();
    GzDecoder::new(DIGITS).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let mut images = Vec::new();
    for line in text.lines() {
        let numbers: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|error| unreadable(error.to_string()))?;
        let (pixels, label) = numbers.split_at_checked(SIDE * SIDE).unwrap_or_default();
        let [label] = label else { return Err(unreadable(format!("{line:?} is no image with a label"))) };
        images.push(Image {
            pixels: pixels.iter().map(|pixel| f32::from(*pixel) / INK).collect(),
            label: i64::from(*label),
        });
    }
    shuffle(&mut images, SPLIT_SEED);
    let validation = images.split_off(images.len() - images.len() / VALIDATION_SHARE);
    Ok((InMemDataset::new(images), InMemDataset::new(validation)))
}

/// Fisher and Yates' shuffle with the generator SplitMix64, so that the split is the same everywhere.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        items.swap(i, (z % (i as u64 + 1)) as usize);
    }
}

#[cfg(feature = "mnist")]
fn mnist() -> Result<(InMemDataset<Image>, InMemDataset<Image>)> {
    use burn::data::dataset::Dataset;
    use burn::data::dataset::vision::{MnistDataset, MnistItem};

    let image = |item: MnistItem| Image {
        pixels: item.image.as_flattened().iter().map(|pixel| pixel / 255.0).collect(),
        label: i64::from(item.label),
    };
    let images =
        |dataset: MnistDataset| InMemDataset::new(dataset.iter().filter_map(Result::ok).map(image).collect());
    Ok((images(MnistDataset::train()), images(MnistDataset::test())))
}

#[cfg(not(feature = "mnist"))]
fn mnist() -> Result<(InMemDataset<Image>, InMemDataset<Image>)> {
    let reason = "this program was built without MNIST: build it with --features digits/mnist, as \
                  cargo xtask train --data mnist does";
    Err(Error::Config { setting: "--data mnist".to_owned(), reason: reason.to_owned() })
}
