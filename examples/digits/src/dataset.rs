//! The images to train on: the handwritten digits in `data/`, or MNIST by burn's loader, split into train and
//! validation, and in batches.

use std::io::Read;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_trainer::{Error, Result};
use flate2::read::GzDecoder;

use crate::hparams::Data;
use crate::image::{Image, image_tensor};

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
/// Every fifth image, in an order that never changes, is for validation.
const VALIDATION_SHARE: usize = 5;
const SPLIT_SEED: u64 = 0;

/// An image, and the digit it shows.
#[derive(Debug, Clone)]
pub struct LabelledImage {
    /// The image.
    pub image: Image,
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

impl Batcher<LabelledImage, Batch> for ImageBatcher {
    fn batch(&self, items: Vec<LabelledImage>, device: &Device) -> Batch {
        let (images, labels): (Vec<Image>, Vec<i64>) =
            items.into_iter().map(|item| (item.image, item.label)).unzip();
        let count = labels.len();
        Batch {
            images: image_tensor(&images, device),
            labels: Tensor::from_data(TensorData::new(labels, [count]), device),
        }
    }
}

/// Images for training, or for validation.
type Images = InMemDataset<LabelledImage>;

/// The images for training, and those for validation.
///
/// # Errors
///
/// [`Error::Config`] for data that this program was built without, or whose file is damaged.
pub fn load(data: Data) -> Result<(Images, Images)> {
    match data {
        Data::Digits => digits(),
        Data::Mnist => mnist(),
    }
}

fn digits() -> Result<(Images, Images)> {
    let unreadable = |reason: String| Error::Config { setting: "data/digits.csv.gz".to_owned(), reason };
    let mut text = String::new();
    GzDecoder::new(DIGITS).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let mut images = Vec::new();
    for line in text.lines() {
        let numbers: Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|error| unreadable(error.to_string()))?;
        let (label, pixels) = numbers.split_last().ok_or_else(|| unreadable("a line is empty".to_owned()))?;
        let image = Image::from_levels(pixels).map_err(|error| unreadable(format!("{line:?}: {error}")))?;
        images.push(LabelledImage { image, label: i64::from(*label) });
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
fn mnist() -> Result<(Images, Images)> {
    use burn::data::dataset::Dataset;
    use burn::data::dataset::vision::{MnistDataset, MnistItem};

    let images = |dataset: MnistDataset| -> Result<Images> {
        let mut images = Vec::with_capacity(dataset.len());
        for item in dataset.iter() {
            let MnistItem { image, label } = item.map_err(|error| Error::Config {
                setting: "--data mnist".to_owned(),
                reason: error.to_string(),
            })?;
            let pixels = image.as_flattened().iter().map(|pixel| pixel / 255.0).collect();
            let image = Image::new(Data::Mnist, pixels).map_err(|error| Error::Config {
                setting: "the data".to_owned(),
                reason: error.to_string(),
            })?;
            images.push(LabelledImage { image, label: i64::from(label) });
        }
        Ok(InMemDataset::new(images))
    };
    Ok((images(MnistDataset::train())?, images(MnistDataset::test())?))
}

#[cfg(not(feature = "mnist"))]
fn mnist() -> Result<(Images, Images)> {
    let reason = "this program was built without MNIST: build it with --features digits/mnist, as \
                  cargo xtask train --data mnist does";
    Err(Error::Config { setting: "--data mnist".to_owned(), reason: reason.to_owned() })
}
