//! Whether two checkpoints hold the same numbers, by the digests that their metadata has of every tensor.

use std::path::Path;

use burn_ckpt::Checkpoint;
use burn_trainer::Result;

/// How two checkpoints compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// Tensors that are in either.
    pub tensors: usize,
    /// Those that are not the same to the bit, or in one alone.
    pub different: usize,
}

impl Comparison {
    /// Whether every bit is the same.
    #[must_use]
    pub fn identical(self) -> bool {
        self.different == 0
    }
}

/// Compares the tensors of two checkpoints: model, optimizer, scheduler and what was logged. Both files are
/// verified.
///
/// # Errors
///
/// When one of them is not complete.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
    let tensors = |path| Ok::<_, burn_trainer::Error>(Checkpoint::open(path)?.verify()?.tensors);
    let (a, b) = (tensors(a)?, tensors(b)?);
    let only_b = b.keys().filter(|name| !a.contains_key(*name));
    let names: Vec<&String> = a.keys().chain(only_b).collect();
    let same = names.iter().filter(|name| a.get(**name).is_some() && a.get(**name) == b.get(**name)).count();
    Ok(Comparison { tensors: names.len(), different: names.len() - same })
}
