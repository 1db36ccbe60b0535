//! The order of an epoch's items: a keyed permutation of `0..len`. Every position is computed on its own.
//!
//! So a pass begins at its billionth item as fast as at its first, without a table of items.
//!
//! A Feistel network permutes the smallest power of two that holds `len`; a value that falls outside `len` is
//! permuted again until it is inside, which takes fewer than two rounds on average ("cycle walking": J.
//! Black, P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). The mixing function is that of
//! `split_mix`. It shuffles well and keeps no secrets.
//!
//! Runs are resumed by later builds than the ones that started them, so these values must never change.

use std::ops::Range;

use super::split_mix::{GAMMA, scramble};

/// Rounds of the network. With a third of them, the orders of five items would be noticeably uneven.
const ROUNDS: usize = 24;

/// Makes the seeds of items differ from the keys of orders.
const ITEM: u64 = 0x6974_656d;

/// One epoch's order of `len` items.
pub(super) struct ShuffleOrder {
    len: u64,
    left: u32,
    right: u32,
    keys: [u64; ROUNDS],
}

impl ShuffleOrder {
    /// The order of a dataset's `range` in an epoch. Ranges with another start have orders of their own: with
    /// equal orders, devices that share a dataset would always get items of the same positions at the same
    /// time.
    pub(super) fn new(seed: u64, epoch: u64, range: &Range<usize>) -> Self {
        let len = range.len() as u64;
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let key = key(&[seed, epoch, range.start as u64]);
        let keys = std::array::from_fn(|round| scramble(key.wrapping_add(GAMMA.wrapping_mul(round as u64))));
        Self { len, left: bits / 2, right: bits - bits / 2, keys }
    }

    /// The item, of `0..len`, at a position below `len`.
    pub(super) fn item(&self, position: usize) -> usize {
        // The loop ends: the position itself is below `len`, and its cycle leads back to it at the latest.
        let mut value = self.permute(position as u64);
        while value >= self.len {
            value = self.permute(value);
        }
        value as usize
    }

    fn permute(&self, value: u64) -> u64 {
        let low = |bits: u32| (1 << bits) - 1;
        let (mut left, mut right) = (value >> self.right, value & low(self.right));
        for pair in self.keys.chunks_exact(2) {
            left ^= scramble(pair[0].wrapping_add(right)) & low(self.left);
            right ^= scramble(pair[1].wrapping_add(left)) & low(self.right);
        }
        left << self.right | right
    }
}

/// The seed of the transform of one item of the dataset in an epoch.
pub(super) fn item_seed(seed: u64, epoch: u64, index: usize) -> u64 {
    key(&[seed, epoch, index as u64, ITEM])
}

fn key(words: &[u64]) -> u64 {
    words.iter().fold(0, |key: u64, word| scramble(key.wrapping_add(GAMMA) ^ word))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
        let order = ShuffleOrder::new(seed, epoch, &(0..len));
        (0..len).map(|position| order.item(position)).collect()
    }

    #[test]
    fn every_item_is_in_an_epoch_once() {
        let lens = (0..=20).chain([1000, (1 << 16) - 1, 1 << 16, (1 << 16) + 1]);
        for len in lens {
            let items: BTreeSet<usize> = order(1, 2, len).into_iter().collect();
            assert!(items.into_iter().eq(0..len), "{len}");
        }
    }

    #[test]
    fn epochs_seeds_and_ranges_have_orders_of_their_own() {
        let (start, end) = (1000, 1100);
        let elsewhere = ShuffleOrder::new(1, 0, &(start..end));
        let elsewhere: Vec<usize> = (0..100).map(|position| elsewhere.item(position)).collect();
        let orders = [order(1, 0, 100), order(1, 1, 100), order(2, 0, 100), order(0, 1, 100), elsewhere];
        assert_eq!(orders.iter().collect::<BTreeSet<_>>().len(), orders.len());
        assert!(orders.iter().all(|order| !order.is_sorted()));
    }

    #[test]
    fn every_item_is_at_every_position_equally_often() {
        const EPOCHS: u64 = 10_000;
        for len in [2, 3, 5, 10] {
            let mut counts = vec![0_u32; len * len];
            for epoch in 0..EPOCHS {
                for (position, item) in order(42, epoch, len).into_iter().enumerate() {
                    counts[position * len + item] += 1;
                }
            }
            // Chi-squared, with (len - 1)^2 degrees of freedom, which is its mean.
            let (expected, cells) = (EPOCHS as f64 / len as f64, len as f64 - 1.0);
            let sum: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
            let (chi, mean) = (sum * cells / len as f64, cells * cells);
            assert!(chi < mean + 4.0 * (2.0 * mean).sqrt(), "{len}: {chi}");
        }
    }

    #[test]
    fn every_order_of_a_few_items_is_equally_likely() {
        let mut counts = BTreeMap::new();
        for epoch in 0..24_000 {
            *counts.entry(order(7, epoch, 4)).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Four standard deviations of the expected thousand.
        assert!(counts.values().all(|count| (count - 1000).abs() < 127), "{counts:?}");
    }

    #[test]
    fn neighbours_do_not_stay_neighbours() {
        let neighbours =
            |order: Vec<usize>| order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        // Two are expected in each epoch, of 999.
        let all: usize = (0..100).map(|epoch| neighbours(order(3, epoch, 1000))).sum();
        assert!(all < 260, "{all}");
        let same: usize = (0..100)
            .map(|epoch| {
                order(3, epoch, 1000).iter().zip(order(3, epoch + 1, 1000)).filter(|(a, b)| **a == *b).count()
            })
            .sum();
        assert!(same < 140, "one item in each is expected to keep its place: {same}");
    }

    /// Runs that are resumed by another build need their orders to be the same.
    #[test]
    fn an_order_is_what_it_has_always_been() {
        assert_eq!(order(42, 0, 10), [3, 7, 4, 6, 5, 9, 2, 1, 0, 8]);
        assert_eq!(order(42, 1, 10), [7, 1, 6, 3, 8, 0, 2, 9, 4, 5]);
        let long = ShuffleOrder::new(42, 7, &(0..1_000_000_000));
        assert_eq!(
            [0, 1, 999_999_999].map(|position| long.item(position)),
            [261378975, 593736246, 704302466]
        );
        let slice = ShuffleOrder::new(u64::MAX, u64::MAX, &(5..105));
        assert_eq!([0, 1, 99].map(|position| slice.item(position)), [71, 30, 93]);
        assert_eq!([item_seed(0, 0, 0), item_seed(42, 1, 5)], [0x4a90_5c28_a7f7_cc7d, 0x5cd3_fb66_389f_82b8]);
    }
}
