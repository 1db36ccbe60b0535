//! The batches of an epoch from a position on, for one device or several.
//!
//! A [`ResumableDataLoader`](crate::ResumableDataLoader) begins at any position, and gives every device its
//! share by index. Of any other loader the first batches are read and dropped, and each of several devices
//! gets a part of the data set, as burn does it.
//!
//! An epoch ends where the iterators end. What a loader says of its length is only shown: it may not know it,
//! or be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::data::dataloader::split::split_dataloader;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use super::run_limits::UsedBatches;
use crate::dataloader::{LoaderSize, StartPosition, iter_from, pass_of_epoch};
use crate::process::console::{MAX_ITEMS, warn};
use crate::state::position::Position;

/// A loader of batches, or one for each device.
pub(in crate::training_loop) struct EpochData<I> {
    loaders: Vec<Arc<dyn DataLoader<I>>>,
    resumable: bool,
    /// The number of items, as the loader says.
    items: usize,
    /// How large the data is, if it is a loader of ours.
    size: Option<LoaderSize>,
    /// The batches of an epoch that are used; `None`: all.
    limit: Option<UsedBatches>,
    /// Whether each epoch has the batches of the first.
    repeats: bool,
    /// The most items that an epoch has had so far.
    most_items: AtomicUsize,
    is_first_pass: AtomicBool,
}

/// A pass over the batches of an epoch.
pub(in crate::training_loop) struct EpochBatches<'a, I> {
    by_device: Vec<Box<dyn DataLoaderIterator<I> + 'a>>,
    /// The batches that are left to be used; `None`: all.
    left: Option<u64>,
    resumable: bool,
    most_items: &'a AtomicUsize,
    /// The number of items that is shown for the epoch; 0 when nothing is known of it.
    total_items: usize,
    /// The items done that were shown last.
    shown: usize,
}

/// The batches of a training step, each with the number of its device.
pub(in crate::training_loop) type StepBatches<I> = Vec<(usize, I)>;

impl<I: 'static> EpochData<I> {
    /// Of each epoch, `limit` batches are used if it is given.
    pub(in crate::training_loop) fn new(
        loader: &Arc<dyn DataLoader<I>>,
        devices: &[Device],
        limit: Option<UsedBatches>,
    ) -> Self {
        let items = loader.num_items();
        let mut loaders: Vec<_> = devices.iter().map(|device| loader.to_device(device)).collect();
        let is_resumable = || iter_from(&*loaders[0], StartPosition::of_epoch(0)).1;
        let resumable = loaders.len() == 1 || is_resumable();
        if !resumable {
            loaders = split_dataloader(Arc::clone(loader), devices);
            if credible(items).is_none() {
                let message = format!(
                    "a data loader says that it has {items} items, and burn splits it between {} devices by that number: \
                     each device gets what the loader's own slice(..) gives it",
                    devices.len()
                );
                warn(&message);
            }
        }
        let (is_first_pass, size) = (AtomicBool::new(true), LoaderSize::of(&**loader));
        let most_items = AtomicUsize::new(0);
        Self { loaders, resumable, items, size, limit, repeats: false, most_items, is_first_pass }
    }

    /// With the batches of the first epoch in each epoch.
    pub(in crate::training_loop) fn repeating(self, repeats: bool) -> Self {
        let takes_starts = || iter_from(&*self.loaders[0], StartPosition::of_epoch(0)).1;
        if repeats && !takes_starts() {
            warn(
                "overfit_batches needs a loader of Trainer::loader: the batches of another one change with the epoch",
            );
        }
        Self { repeats, ..self }
    }

    /// Whether it is left out, as none of its batches are used.
    pub(in crate::training_loop) fn is_left_out(&self) -> bool {
        self.limit == Some(UsedBatches::Count(0))
    }

    /// Why there is no batch, if that is known before the data is read.
    pub(in crate::training_loop) fn without_batches(&self) -> Option<String> {
        self.size.and_then(LoaderSize::without_batches)
    }

    /// What is wrong when an epoch's pass has given no batch.
    pub(in crate::training_loop) fn ended_at_once(&self, epoch: u64) -> String {
        self.without_batches().unwrap_or_else(|| {
            let (number, items) = (epoch + 1, self.items);
            format!(
                "its loader's iterator has ended at once in epoch {number}, and its num_items() is {items}"
            )
        })
    }

    /// Begins a pass of a training at a position. `began_with` is the number of items of an epoch that began
    /// with fewer than there are now.
    ///
    /// # Errors
    ///
    /// The error of a batch that was read to get to the position.
    pub(in crate::training_loop) fn begin(
        &self,
        position: Position,
        began_with: Option<u64>,
    ) -> Result<EpochBatches<'_, I>, DatasetError> {
        self.begin_limited(position, began_with, self.limit.map(|limit| limit.in_epoch(began_with)))
    }

    /// Begins a pass of a validation, in an epoch whose training `began_with` fewer items than there are now.
    ///
    /// # Errors
    ///
    /// As those of [`begin`](Self::begin).
    pub(in crate::training_loop) fn begin_validation(
        &self,
        position: Position,
        began_with: Option<u64>,
    ) -> Result<EpochBatches<'_, I>, DatasetError> {
        self.begin_limited(position, None, self.limit.map(|limit| limit.in_epoch(began_with)))
    }

    fn begin_limited(
        &self,
        position: Position,
        began_with: Option<u64>,
        limit: Option<u64>,
    ) -> Result<EpochBatches<'_, I>, DatasetError> {
        let shards = self.loaders.len() as u64;
        // A wrapper around a loader of ours that does not count items.
        let is_uncounted = position.batches > 0 && position.items == 0;
        let mut resumable = self.resumable && !is_uncounted;
        let mut took_starts = true;
        let mut by_device = Vec::with_capacity(self.loaders.len());
        for (shard, loader) in (0..).zip(&self.loaders) {
            let Position { epoch, items, .. } = position;
            let epoch = if self.repeats { 0 } else { epoch };
            let start = StartPosition { epoch, items, began_with, shard, shards };
            let (iterator, took_start) = iter_from(&**loader, start);
            took_starts &= took_start;
            by_device.push(iterator);
        }
        resumable &= took_starts;
        if resumable && credible(self.items).is_some_and(|items| position.items > items as u64) {
            let message = format!(
                "the run was trained on {} items of epoch {}, of which there are {} now: the epoch ends here",
                position.items,
                position.epoch + 1,
                self.items
            );
            warn(&message);
        }
        let is_first_pass = self.is_first_pass.swap(false, Ordering::Relaxed);
        let most_items = &self.most_items;
        let mut batches =
            EpochBatches { by_device, left: None, resumable, most_items, total_items: 0, shown: 0 };
        let began_with = began_with.filter(|_| resumable).and_then(|items| usize::try_from(items).ok());
        let items = began_with.unwrap_or(self.items);
        let claimed = credible(items).or_else(|| credible(batches.claimed().items_total));
        batches.total_items = claimed.unwrap_or(0).max(most_items.load(Ordering::Relaxed));
        if !took_starts && is_first_pass {
            let begun = self.loaders.iter().zip(batches.by_device);
            batches.by_device =
                begun.map(|(loader, first)| pass_of_epoch(&**loader, first, position.epoch)).collect();
        }
        if !resumable && is_first_pass {
            batches.skip(position)?;
        }
        batches.left = limit.map(|limit| limit.saturating_sub(position.batches));
        if let (Some(limit), Some(size)) = (limit, self.size) {
            let items = limit.saturating_mul(size.batch_size() as u64);
            batches.total_items = batches.total_items.min(usize::try_from(items).unwrap_or(usize::MAX));
        }
        Ok(batches)
    }
}

impl<I> EpochBatches<'_, I> {
    /// A batch for each device, in the order of the devices, or fewer at the end of the data. `None` after
    /// the end.
    pub(in crate::training_loop) fn next_step(&mut self) -> Option<Result<StepBatches<I>, DatasetError>> {
        let mut step = Vec::with_capacity(self.by_device.len());
        for (device, batches) in self.by_device.iter_mut().enumerate() {
            if self.left.is_some_and(|left| left <= step.len() as u64) {
                break;
            }
            match batches.next() {
                Some(Ok(batch)) => step.push((device, batch)),
                Some(Err(error)) => return Some(Err(error)),
                None => {}
            }
        }
        self.left = self.left.map(|left| left - step.len() as u64);
        (!step.is_empty()).then_some(Ok(step))
    }

    /// The number of items of the epoch to show: what the loader says if that can be, and never less than an
    /// earlier epoch had. 0 when nothing is known. burn's dashboard subtracts items of different epochs,
    /// which must not come out below 0.
    pub(in crate::training_loop) fn total_items(&self) -> usize {
        self.total_items
    }

    /// Items of the epoch that were given, as the loader counts them; 0 if it does not. A
    /// [`ResumableDataLoader`](crate::ResumableDataLoader) begins there after a resume.
    pub(in crate::training_loop) fn items_done(&self) -> u64 {
        credible(self.claimed().items_processed).unwrap_or(0) as u64
    }

    /// Items of the epoch that were given, and all items, as they are shown: the first number never falls.
    pub(in crate::training_loop) fn progress(&mut self) -> Progress {
        let claimed = self.claimed();
        self.shown = self.shown.max(credible(claimed.items_processed).unwrap_or(0));
        self.most_items.fetch_max(self.shown, Ordering::Relaxed);
        Progress::new(self.shown, self.total_items, claimed.unit)
    }

    /// What the loader says.
    fn claimed(&self) -> Progress {
        let by_device = self.by_device.iter().map(|batches| batches.progress());
        let joined = by_device.reduce(|one, other| {
            let (done, total) = if self.resumable {
                (one.items_processed.max(other.items_processed), one.items_total)
            } else {
                let done = one.items_processed.saturating_add(other.items_processed);
                (done, one.items_total.saturating_add(other.items_total))
            };
            Progress::new(done, total, one.unit)
        });
        joined.unwrap_or_else(|| Progress::new(0, 0, None))
    }

    /// Drops the batches before the position.
    fn skip(&mut self, position: Position) -> Result<(), DatasetError> {
        if position.batches == 0 {
            return Ok(());
        }
        let message = format!(
            "the training data's loader cannot begin in the middle of epoch {}: its first {} batches are read and \
             dropped. They are those that were trained on only if the order follows from the number of passes \
             (burn's loader: with up to 1 worker); burn_trainer's ResumableDataLoader restores any position",
            position.epoch + 1,
            position.batches
        );
        warn(&message);
        let mut dropped = 0;
        while dropped < position.batches {
            match self.next_step() {
                Some(step) => dropped += step?.len() as u64,
                None => break,
            }
        }
        Ok(())
    }
}

/// A number of items that a loader may really have.
fn credible(items: usize) -> Option<usize> {
    (1..=MAX_ITEMS).contains(&items).then_some(items)
}
