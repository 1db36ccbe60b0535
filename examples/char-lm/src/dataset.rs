//! The text to train on, in `data/`: split into train and validation, cut into windows, and in batches.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_trainer::{Error, Result};
use flate2::read::GzDecoder;

const FILE: &str = "data/new-testament.txt.gz";
const TEXT: &[u8] = include_bytes!("../data/new-testament.txt.gz");
/// The last tenth of the text is for validation.
const VALIDATION_SHARE: usize = 10;

/// A text, or a part of one.
pub type Text = Arc<[u8]>;

/// The places in a text where windows begin: it is cut into parts of one length, with a window in each.
#[derive(Debug, Clone)]
pub struct Windows {
    /// A window may begin before this.
    starts: usize,
    parts: usize,
}

/// Where a window may begin: anywhere in one part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window(Range<usize>);

/// Texts for a training step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Shape `[batch, context]`.
    pub texts: Tensor<2, Int>,
    /// What comes next at each place. Shape `[batch, context]`.
    pub next: Tensor<2, Int>,
}

/// Cuts windows out of a text, and puts them into tensors.
#[derive(Debug, Clone)]
pub struct WindowBatcher {
    text: Text,
    context: usize,
}

/// The text for training, and that for validation.
///
/// # Errors
///
/// [`Error::Config`] when the file is damaged.
pub fn load() -> Result<(Text, Text)> {
    let mut text = Vec::new();
    let read = GzDecoder::new(TEXT).read_to_end(&mut text);
    read.map_err(|error| Error::Config { setting: FILE.to_owned(), reason: error.to_string() })?;
    let valid = text.split_off(text.len() - text.len() / VALIDATION_SHARE);
    Ok((text.into(), valid.into()))
}

impl Windows {
    /// So many windows of a text, each with the byte that comes after it.
    #[must_use]
    pub fn new(text: &Text, context: usize, count: usize) -> Self {
        let starts = text.len().saturating_sub(context);
        // There is nowhere to begin in a text that is too short.
        Self { starts, parts: if starts == 0 { 0 } else { count } }
    }
}

/// Nothing is stored, so that there can be any number of them.
impl Dataset<Window> for Windows {
    fn get(&self, index: usize) -> Result<Window, DatasetError> {
        // In 128 bits the product of any two lengths has room.
        let place = |part: usize| (part as u128 * self.starts as u128 / self.parts as u128) as usize;
        let start = place(index);
        // Where there are more windows than places, several begin in one.
        Ok(Window(start..place(index + 1).max(start + 1)))
    }

    fn len(&self) -> usize {
        self.parts
    }
}

impl Window {
    /// One that begins in a random place of its part, for the loader's
    /// [`transform`](burn_trainer::ResumableDataLoaderBuilder::transform): the seed is another one in every
    /// epoch, and the same after a resume.
    #[must_use]
    pub fn anywhere(self, seed: u64) -> Self {
        let start = self.0.start + (seed % self.0.len().max(1) as u64) as usize;
        Self(start..start + 1)
    }
}

impl WindowBatcher {
    /// Of the text that the windows were made for.
    #[must_use]
    pub fn new(text: &Text, context: usize) -> Self {
        Self { text: Arc::clone(text), context }
    }
}

impl Batcher<Window, Batch> for WindowBatcher {
    fn batch(&self, windows: Vec<Window>, device: &Device) -> Batch {
        let shape = [windows.len(), self.context];
        let tensor = |offset: usize| {
            let begins = windows.iter().map(|window| window.0.start + offset);
            let bytes = begins.flat_map(|begin| &self.text[begin..begin + self.context]);
            let bytes: Vec<i64> = bytes.map(|byte| i64::from(*byte)).collect();
            Tensor::from_data(TensorData::new(bytes, shape), device)
        };
        Batch { texts: tensor(0), next: tensor(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_whole_and_its_last_tenth_is_for_validation() {
        let (train, valid) = load().unwrap();
        assert_eq!((train.len(), valid.len()), (854_533, 94_948));
        assert!(train.starts_with(b"The book of the generation of Jesus Christ"));
        assert!(valid.ends_with(b"The grace of our Lord Jesus Christ be with you all. Amen.\n"));
        assert!(train.is_ascii() && valid.is_ascii());
    }

    #[test]
    fn windows_cover_every_place_once_and_none_leaves_the_text() {
        let text: Text = vec![0; 1000].into();
        for count in [1, 7, 990] {
            let windows = Windows::new(&text, 10, count);
            let mut next = 0;
            for index in 0..windows.len() {
                let Window(places) = windows.get(index).unwrap();
                assert_eq!(places.start, next, "{count}");
                next = places.end;
            }
            assert_eq!((windows.len(), next), (count, 990));
        }
        // The last byte of the last one is the last byte to say.
        let window = Windows::new(&text, 10, 1).get(0).unwrap().anywhere(989);
        assert_eq!(window, Window(989..990));
        let batch = WindowBatcher::new(&text, 10).batch(vec![window], &Device::default());
        assert_eq!(batch.next.dims(), [1, 10]);
    }

    #[test]
    fn there_may_be_more_windows_than_places_but_none_in_a_text_that_is_too_short() {
        let text: Text = vec![0; 12].into();
        let windows = Windows::new(&text, 10, usize::MAX);
        assert_eq!(windows.get(usize::MAX - 1).unwrap(), Window(1..2));
        assert!(Windows::new(&text, 12, 5).is_empty());
    }

    #[test]
    fn a_batch_says_at_each_place_which_byte_comes_next() {
        let text: Text = b"abcdefgh".to_vec().into();
        let windows = Windows::new(&text, 3, 5);
        let windows = [0, 4].map(|index| windows.get(index).unwrap()).to_vec();
        let batch = WindowBatcher::new(&text, 3).batch(windows, &Device::default());
        let bytes = |tensor: Tensor<2, Int>| {
            String::from_utf8(tensor.into_data().iter::<i64>().map(|byte| byte as u8).collect()).unwrap()
        };
        assert_eq!((bytes(batch.texts), bytes(batch.next)), ("abcefg".to_owned(), "bcdfgh".to_owned()));
    }
}
