//! The data: the examples' own, in files for the peers, and a dataset that has as many items as a run asks
//! for.

use std::path::Path;

use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use digits::{Data, Image, image_tensor};

use crate::program::Result;

/// Writes the examples' training data for the peers.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn write_for_peers(dir: &Path) -> Result<()> {
    let (text, _) = char_lm::load()?;
    std::fs::write(dir.join("text"), &text[..])?;
    let (train, _) = digits::load(Data::Digits)?;
    let items = (0..train.len()).map(|index| train.get(index)).collect::<Result<Vec<_>, _>>()?;
    let (images, labels): (Vec<Image>, Vec<u8>) =
        items.into_iter().map(|item| (item.image, u8::try_from(item.label).unwrap_or_default())).unzip();
    std::fs::write(dir.join("images"), image_tensor(&images, &Device::flex()).into_data().as_bytes())?;
    std::fs::write(dir.join("labels"), labels)?;
    Ok(())
}

/// The items of a dataset again and again, up to a count.
pub(crate) struct Repeated<D> {
    items: D,
    count: usize,
}

impl<D> Repeated<D> {
    /// So many.
    pub(crate) fn new(items: D, count: usize) -> Self {
        Self { items, count }
    }
}

impl<T, D: Dataset<T>> Dataset<T> for Repeated<D> {
    fn get(&self, index: usize) -> Result<T, DatasetError> {
        self.items.get(index % self.items.len().max(1))
    }

    fn len(&self) -> usize {
        self.count
    }
}
