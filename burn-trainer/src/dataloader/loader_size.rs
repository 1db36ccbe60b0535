//! What a loader of ours says of its data before training: how many items there are, and how many make a
//! batch.
//!
//! A `dyn DataLoader` has no method to ask for that. So a thread-local cell says that it is asked while
//! `num_items` is called, as `start_position` does with `iter`.

use std::cell::Cell;

use burn::data::dataloader::DataLoader;

/// The data of a [`ResumableDataLoader`](super::ResumableDataLoader).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoaderSize {
    /// Items of the data set, or of the loader's part of it.
    pub(super) items: usize,
    pub(super) batch_size: usize,
    pub(super) drop_last: bool,
}

thread_local! {
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
    static ANSWER: Cell<Option<LoaderSize>> = const { Cell::new(None) };
}

impl LoaderSize {
    /// The size of a loader, also within a wrapper that passes `num_items` on. `None` for any other loader.
    pub(crate) fn of<O>(loader: &dyn DataLoader<O>) -> Option<Self> {
        /// The cells are cleared after a panic too.
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                IS_ASKED.set(false);
                ANSWER.set(None);
            }
        }
        let _clear = Clear;
        IS_ASKED.set(true);
        let items = loader.num_items();
        // A wrapper may have several loaders, or change the number.
        ANSWER.take().filter(|size| size.items_in_batches() == items)
    }

    /// Answers, if the trainer asks on this thread.
    pub(super) fn answer(self) {
        if IS_ASKED.get() {
            ANSWER.set(Some(self));
        }
    }

    /// The same loader in an epoch that began with fewer items than there are now, if it did.
    pub(crate) fn began_with(self, items: Option<u64>) -> Self {
        let items = items.map_or(self.items, |items| usize::try_from(items).unwrap_or(usize::MAX));
        Self { items, ..self }
    }

    /// This number of batches of one item.
    #[cfg(test)]
    pub(crate) fn of_batches(batches: usize) -> Self {
        Self { items: batches, batch_size: 1, drop_last: false }
    }

    /// Items of the data set.
    pub(crate) fn items(self) -> usize {
        self.items
    }

    /// Items of a batch.
    pub(crate) fn batch_size(self) -> usize {
        self.batch_size
    }

    /// Batches of an epoch.
    pub(crate) fn batches(self) -> u64 {
        self.items_in_batches().div_ceil(self.batch_size.max(1)) as u64
    }

    /// Items of an epoch that come in a batch.
    pub(super) fn items_in_batches(self) -> usize {
        if self.drop_last { self.items - self.items % self.batch_size } else { self.items }
    }

    /// Why there is no batch, if there is none.
    pub(crate) fn without_batches(self) -> Option<String> {
        let Self { items, batch_size, .. } = self;
        match self.items_in_batches() {
            0 if items == 0 => Some("its data set has no items".to_owned()),
            0 => Some(format!(
                "its data set has {items} items, and drop_last leaves out a batch that is smaller than batch_size, which is \
                 {batch_size}: take a smaller batch_size, or leave drop_last out"
            )),
            _ => None,
        }
    }

    /// A warning where all items are in one batch, smaller than configured.
    pub(crate) fn single_small_batch(self) -> Option<String> {
        let Self { items, batch_size, .. } = self;
        let is_small = (1..batch_size).contains(&self.items_in_batches());
        is_small.then(|| format!("has {items} items, which make one batch: batch_size is {batch_size}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::data::dataloader::{DataLoaderBuilder, DataLoaderIterator};
    use burn::tensor::Device;

    use super::super::ResumableDataLoader;
    use super::super::tests::{Lists, Numbers};
    use super::*;

    type Lists2 = Arc<dyn DataLoader<Vec<usize>>>;

    /// Two loaders, one after the other.
    struct Joined(Lists2, Lists2);

    impl DataLoader<Vec<usize>> for Joined {
        fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<usize>> + 'a> {
            self.0.iter()
        }

        fn num_items(&self) -> usize {
            self.0.num_items() + self.1.num_items()
        }

        fn to_device(&self, _: &Device) -> Lists2 {
            unreachable!("not called here")
        }

        fn slice(&self, _: usize, _: usize) -> Lists2 {
            unreachable!("not called here")
        }
    }

    fn ours(items: usize, batch_size: usize, drop_last: bool) -> Lists2 {
        let builder = ResumableDataLoader::builder(Lists).batch_size(batch_size).drop_last(drop_last);
        builder.build(Numbers::new(items))
    }

    #[test]
    fn a_loader_without_batches_says_why() {
        let reason = |items, batch_size, drop_last| {
            LoaderSize::of(&*ours(items, batch_size, drop_last)).unwrap().without_batches()
        };
        assert!(
            reason(300, 1000, true).unwrap().contains("300")
                && reason(300, 1000, true).unwrap().contains("1000")
        );
        assert!(reason(0, 1000, false).unwrap().contains("no items"));
        assert!(reason(0, 1, true).unwrap().contains("no items"));
        for (items, batch_size, drop_last) in [(300, 1000, false), (300, 300, true), (1, 1, true)] {
            assert_eq!(reason(items, batch_size, drop_last), None);
        }
    }

    #[test]
    fn a_batch_larger_than_the_set_is_a_warning_with_both_numbers() {
        let warning = |items, batch_size, drop_last| {
            LoaderSize::of(&*ours(items, batch_size, drop_last)).unwrap().single_small_batch()
        };
        let text = warning(300, 1000, false).unwrap();
        assert!(text.contains("300") && text.contains("1000"), "{text}");
        for (items, batch_size, drop_last) in
            [(300, 1000, true), (300, 300, false), (301, 300, false), (0, 2, false)]
        {
            assert_eq!(warning(items, batch_size, drop_last), None);
        }
    }

    #[test]
    fn other_loaders_do_not_answer() {
        let burns = DataLoaderBuilder::new(Lists).batch_size(4).build(Numbers::new(0));
        assert_eq!(LoaderSize::of(&*burns), None);
        // Together they have batches, and the last one to answer has none.
        assert_eq!(LoaderSize::of(&Joined(ours(8, 4, false), ours(3, 4, true))), None);
        assert_eq!(ours(8, 4, false).num_items(), 8);
        assert_eq!(ANSWER.take(), None, "it gave an answer");
    }
}
