//! Random numbers that depend on the position in the run only.
//!
//! A backend's random stream can be seeded, but its state cannot be saved. So the device gets a new seed
//! before every training batch and every validation, made from the run's seed and the position. A batch then
//! draws the same numbers (dropout, noise) in a resumed run as in a run that was never stopped, and whenever
//! the run validates.

use burn::tensor::Device;

use crate::dataloader::split_mix::{GAMMA, scramble};

/// The part of a run that draws random numbers.
#[derive(Debug, Clone, Copy)]
pub(in crate::training_loop) enum SeededPart {
    /// A training batch of an epoch, both counted from 0.
    TrainingBatch { epoch: u64, batch: u64 },
    /// The validation at the end of an epoch.
    Validation { epoch: u64 },
    /// A validation within an epoch, after this number of optimizer steps.
    ValidationWithin { step: u64 },
}

/// Seeds the device for a part of the run.
pub(in crate::training_loop) fn seed_device(device: &Device, seed: u64, part: SeededPart) {
    device.seed(seed_of(seed, part));
}

fn seed_of(seed: u64, part: SeededPart) -> u64 {
    match part {
        SeededPart::TrainingBatch { epoch, batch } => mix(&[seed, 0, epoch, batch]),
        SeededPart::Validation { epoch } => mix(&[seed, 1, epoch]),
        SeededPart::ValidationWithin { step } => mix(&[seed, 2, step]),
    }
}

/// One number from several. Each of them affects every bit.
fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |state, part| scramble((state ^ part).wrapping_add(GAMMA)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_part_of_every_run_has_its_own_seed() {
        let mut seen = HashSet::new();
        for seed in 0..20 {
            for epoch in 0..20 {
                assert!(seen.insert(seed_of(seed, SeededPart::Validation { epoch })));
                assert!(seen.insert(seed_of(seed, SeededPart::ValidationWithin { step: epoch })));
                for batch in 0..50 {
                    assert!(seen.insert(seed_of(seed, SeededPart::TrainingBatch { epoch, batch })));
                }
            }
        }
    }

    #[test]
    fn the_seeds_never_change() {
        // A newer version may resume the run.
        assert_eq!(seed_of(42, SeededPart::TrainingBatch { epoch: 0, batch: 0 }), mix(&[42, 0, 0, 0]));
        assert_eq!(seed_of(42, SeededPart::Validation { epoch: 3 }), mix(&[42, 1, 3]));
        assert_eq!(seed_of(42, SeededPart::ValidationWithin { step: 3 }), mix(&[42, 2, 3]));
        assert_eq!(mix(&[0]), 0xE220_A839_7B1D_CDAF);
    }
}
