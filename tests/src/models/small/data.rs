//! The data: items, batches, and a loader that shuffles.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{DatasetError, InMemDataset};
use burn::tensor::{Device, Tensor, TensorData};
use burn_trainer::ResumableDataLoader;

/// Inputs of the model.
pub(super) const WIDTH: usize = 4;
/// Items in a batch.
pub const BATCH: usize = 8;
/// Training batches in an epoch of the small model.
pub const STEPS_PER_EPOCH: usize = 10;

/// A batch of the small model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Inputs `[batch, 4]`.
    pub inputs: Tensor<2>,
    pub(super) targets: Tensor<2>,
}

/// An item of the small model's data: inputs, and a target that follows from them.
#[derive(Debug, Clone)]
pub struct Item([f32; WIDTH], f32);

/// As many different items as there are in [`STEPS_PER_EPOCH`] batches.
#[must_use]
pub fn items() -> InMemDataset<Item> {
    let item = |number: usize| {
        let inputs: [f32; WIDTH] = std::array::from_fn(|i| ((number * 31 + i * 17) % 83) as f32 / 83.0);
        Item(inputs, inputs.iter().sum::<f32>() - 1.0)
    };
    InMemDataset::new((0..STEPS_PER_EPOCH * BATCH).map(item).collect())
}

/// Puts items into tensors.
#[derive(Debug, Clone)]
pub struct ItemBatcher;

impl Batcher<Item, Batch> for ItemBatcher {
    fn batch(&self, items: Vec<Item>, device: &Device) -> Batch {
        let count = items.len();
        let inputs: Vec<f32> = items.iter().flat_map(|item| item.0).collect();
        let targets: Vec<f32> = items.iter().map(|item| item.1).collect();
        Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [count, WIDTH]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count, 1]), device),
        }
    }
}

/// A loader that shuffles, whose passes can begin anywhere.
#[must_use]
pub fn shuffling(batch_size: usize) -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(batch_size).shuffle(5).build(items())
}

/// An error as a data loader reports it.
pub(super) fn dataset_error(text: &str) -> DatasetError {
    DatasetError::new(std::io::Error::other(text.to_owned()))
}
