//! Random numbers that follow from where in a run they are drawn.
//!
//! A backend's random stream can be seeded, but its state cannot be saved. So the device gets a new seed before every
//! training batch and every validation, made from the run's seed and the place: what a batch draws (dropout, noise)
//! is the same whether the run came there in one go or in several.

use burn::tensor::Device;

/// What random numbers are drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Draw {
    /// A training batch of an epoch, both counted from 0.
    Train { epoch: u64, batch: u64 },
    /// The validation of an epoch.
    Validation { epoch: u64 },
}

/// Seeds the device for it.
pub(crate) fn seed(device: &Device, seed: u64, draw: Draw) {
    device.seed(seed_of(seed, draw));
}

fn seed_of(seed: u64, draw: Draw) -> u64 {
    match draw {
        Draw::Train { epoch, batch } => mix(&[seed, 0, epoch, batch]),
        Draw::Validation { epoch } => mix(&[seed, 1, epoch]),
    }
}

/// One number from several, each of which changes it altogether.
fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, part| scramble((state ^ part).wrapping_add(GAMMA)))
}

/// The step of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA
/// 2014): the odd integer closest to 2^64 / golden ratio.
pub(crate) const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's output function.
pub(crate) fn scramble(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_place_of_every_run_has_a_seed_of_its_own() {
        let mut seen = HashSet::new();
        for seed in 0..20 {
            for epoch in 0..20 {
                assert!(seen.insert(seed_of(seed, Draw::Validation { epoch })));
                for batch in 0..50 {
                    assert!(seen.insert(seed_of(seed, Draw::Train { epoch, batch })));
                }
            }
        }
    }

    #[test]
    fn the_seeds_never_change() {
        // A run may be gone on with by a newer version.
        assert_eq!(seed_of(42, Draw::Train { epoch: 0, batch: 0 }), mix(&[42, 0, 0, 0]));
        assert_eq!(mix(&[0]), 0xE220_A839_7B1D_CDAF);
    }
}
