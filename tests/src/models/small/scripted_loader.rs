//! A loader that gives the same batches in every epoch, and fails where the script says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Tensor, TensorData};

use super::data::{BATCH, Batch, STEPS_PER_EPOCH, WIDTH, dataset_error};
use super::model::Script;
use crate::backend;

/// A loader that gives the same batches in every epoch.
#[must_use]
pub fn loader(script: &Script) -> Arc<dyn DataLoader<Batch>> {
    let batches = script.batches.unwrap_or(STEPS_PER_EPOCH);
    Arc::new(Loader {
        device: backend::device(),
        batches,
        fails_at: script.loader_fails_at,
        given: Arc::default(),
    })
}

#[derive(Clone)]
struct Loader {
    device: Device,
    batches: usize,
    fails_at: Option<usize>,
    given: Arc<AtomicUsize>,
}

struct Batches<'a> {
    loader: &'a Loader,
    next: usize,
}

impl DataLoader<Batch> for Loader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(Batches { loader: self, next: 0 })
    }

    fn num_items(&self) -> usize {
        self.batches * BATCH
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<Batch>> {
        self.to_device(&self.device)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.loader.batches {
            return None;
        }
        let number = self.next;
        self.next += 1;
        if Some(self.loader.given.fetch_add(1, Ordering::SeqCst) + 1) == self.loader.fails_at {
            return Some(Err(dataset_error("the disk with the data is gone")));
        }
        // Some numbers that differ, and a target that follows from them.
        let value = |i: usize| ((number * 31 + i * 17) % 23) as f32 / 23.0;
        let inputs: Vec<f32> = (0..BATCH * WIDTH).map(value).collect();
        let targets: Vec<f32> = inputs.chunks(WIDTH).map(|row| row.iter().sum::<f32>() - 1.0).collect();
        Some(Ok(Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, [BATCH, WIDTH]), &self.loader.device),
            targets: Tensor::from_data(TensorData::new(targets, [BATCH, 1]), &self.loader.device),
        }))
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.next * BATCH, self.loader.batches * BATCH, Some("items".to_owned()))
    }
}
