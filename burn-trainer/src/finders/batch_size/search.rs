//! Which batch size is tried next.

/// How a [`BatchSizeFinder`](super::BatchSizeFinder) chooses the sizes. Both modes first double the size
/// until one does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchSizeMode {
    /// Ends there: the result is the last size that fits, such as 64 if 128 does not.
    Power,
    /// Then halves the range between the last size that fits and the first that does not, until they differ
    /// by one item.
    BinarySearch,
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct Search {
    mode: BatchSizeMode,
    first: usize,
    largest: usize,
    /// The largest size that fits.
    fits: Option<usize>,
    /// The smallest size that does not.
    fails: Option<usize>,
}

impl Search {
    /// No size above `largest` is tried.
    pub(super) fn new(mode: BatchSizeMode, first: usize, largest: usize) -> Self {
        Self { mode, first: first.min(largest).max(1), largest: largest.max(1), fits: None, fails: None }
    }

    /// The next size; `None` at the end.
    pub(super) fn next(&self) -> Option<usize> {
        match (self.fits, self.fails) {
            (None, None) => Some(self.first),
            (None, Some(fails)) => Some(fails / 2).filter(|size| *size > 0),
            (Some(fits), None) => {
                let next = fits.saturating_mul(2).min(self.largest);
                (next > fits).then_some(next)
            }
            (Some(fits), Some(fails)) => {
                let middle = fits + (fails - fits) / 2;
                (self.mode == BatchSizeMode::BinarySearch && middle > fits).then_some(middle)
            }
        }
    }

    /// Notes whether a size fits.
    pub(super) fn record(&mut self, size: usize, fits: bool) {
        *(if fits { &mut self.fits } else { &mut self.fails }) = Some(size);
    }

    pub(super) fn fits(&self) -> Option<usize> {
        self.fits
    }

    pub(super) fn fails(&self) -> Option<usize> {
        self.fails
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BatchSizeMode::{BinarySearch, Power};

    /// The sizes that are tried where this number of items fits, and what is found.
    fn tried(
        mode: BatchSizeMode,
        first: usize,
        largest: usize,
        capacity: usize,
    ) -> (Vec<usize>, Option<usize>) {
        let mut search = Search::new(mode, first, largest);
        let mut tried = Vec::new();
        while let Some(size) = search.next() {
            tried.push(size);
            search.record(size, size <= capacity);
            assert!(tried.len() < 100, "{tried:?}");
        }
        (tried, search.fits())
    }

    #[test]
    fn powers_double_until_one_does_not_fit() {
        assert_eq!(tried(Power, 2, 1000, 20), (vec![2, 4, 8, 16, 32], Some(16)));
        assert_eq!(tried(Power, 3, 1000, 12), (vec![3, 6, 12, 24], Some(12)));
        assert_eq!(tried(Power, 2, 20, 1000), (vec![2, 4, 8, 16, 20], Some(20)));
        assert_eq!(tried(Power, 50, 20, 1000), (vec![20], Some(20)));
        // From a first size that is too large, down.
        assert_eq!(tried(Power, 64, 1000, 20), (vec![64, 32, 16], Some(16)));
        assert_eq!(tried(Power, 4, 1000, 0), (vec![4, 2, 1], None));
        assert_eq!(tried(Power, 1, usize::MAX, usize::MAX).1, Some(usize::MAX));
    }

    #[test]
    fn a_binary_search_finds_the_last_item_that_fits() {
        assert_eq!(tried(BinarySearch, 2, 1000, 20), (vec![2, 4, 8, 16, 32, 24, 20, 22, 21], Some(20)));
        for capacity in 0..200 {
            let (_, found) = tried(BinarySearch, 7, 150, capacity);
            assert_eq!(found, Some(capacity.min(150)).filter(|size| *size > 0), "{capacity}");
        }
    }
}
