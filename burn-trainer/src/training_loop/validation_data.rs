//! The data of a validation: the main set, and those with names.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;

use super::parts::epoch_batches::EpochData;
use super::parts::run_limits::{BatchLimits, UsedBatches};
use crate::dataloader::NamedLoader;
use crate::metrics::MetricsOf;

/// The sets of a validation, in the order in which they are validated.
pub(super) struct ValidationData<I> {
    main: ValidationSet<I>,
    named: Vec<ValidationSet<I>>,
}

pub(super) struct ValidationSet<I> {
    /// `None`: the main one.
    name: Option<String>,
    pub(super) data: EpochData<I>,
    /// The first batches, to be tried before the first step.
    pub(super) trial: Option<EpochData<I>>,
}

impl<I: 'static> ValidationData<I> {
    pub(super) fn new(
        main: &Arc<dyn DataLoader<I>>,
        named: &[NamedLoader<I>],
        device: &Device,
        limits: BatchLimits,
    ) -> Self {
        let set = |name: Option<&String>, loader: &Arc<dyn DataLoader<I>>, limit| {
            let data = |limit| EpochData::new(loader, std::slice::from_ref(device), limit);
            ValidationSet {
                name: name.cloned(),
                data: data(limit).repeating(limits.repeats),
                // A loader that shuffles by itself gives each copy an order of its own: this one takes
                // nothing from the other's.
                trial: limits.trial.map(|batches| data(Some(UsedBatches::Count(batches)))),
            }
        };
        let of_named = |named: &NamedLoader<I>| {
            // With overfit_batches the limit is that of the training.
            let limit = named.limit.map(UsedBatches::Count).or(limits.valid.filter(|_| limits.repeats));
            set(Some(&named.name), &named.loader, limit)
        };
        Self { main: set(None, main, limits.valid), named: named.iter().map(of_named).collect() }
    }

    /// All sets. The main one is the first.
    pub(super) fn sets(&self) -> impl Iterator<Item = &ValidationSet<I>> {
        std::iter::once(&self.main).chain(&self.named)
    }

    /// Whether it is tried before the first step.
    pub(super) fn is_tried(&self) -> bool {
        self.main.trial.is_some()
    }

    /// Whether it is left out, as no batch of any set is used.
    pub(super) fn is_left_out(&self) -> bool {
        self.main.data.is_left_out()
    }
}

impl<I: 'static> ValidationSet<I> {
    /// `None`: the main one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The metrics that are computed on it.
    pub(super) fn metrics(&self) -> MetricsOf<'_> {
        MetricsOf::Set(self.name())
    }
}
