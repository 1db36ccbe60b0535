//! Names of imported tensors: what the user replaces in them, the numbers of layers, and counters that burn lacks.

use std::collections::{BTreeMap, BTreeSet};

use burn::store::{KeyRemapper, map_indices_contiguous};
use burn_ckpt::burn_pack::Tensor;

use crate::answer::Failure;

/// Last part of the name of a counter in PyTorch's batch normalisation.
const COUNTER: &str = "num_batches_tracked";
/// What stands beside it.
const COUNTED: &str = "running_mean";

/// The tensors under new names, one replacement after the other.
///
/// # Errors
///
/// When two get one name.
pub fn renamed(tensors: Vec<Tensor>, renames: &[KeyRemapper]) -> Result<Vec<Tensor>, Failure> {
    renames.iter().try_fold(tensors, |tensors, rename| {
        let (tensors, names) = rename.remap(tensors);
        distinct(tensors, names)
    })
}

/// The tensors with the numbers of layers made contiguous, in each list of layers for itself.
///
/// # Errors
///
/// When two get one name (`0.weight` and `00.weight`).
pub fn contiguous(tensors: Vec<Tensor>) -> Result<Vec<Tensor>, Failure> {
    let (tensors, names) = map_indices_contiguous(tensors);
    distinct(tensors, names)
}

/// The tensors without the numbers of batches that PyTorch's batch normalisation has seen.
pub fn without_counters(tensors: Vec<Tensor>) -> Vec<Tensor> {
    let names: BTreeSet<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let is_counter = |name: &str| {
        name.strip_suffix(COUNTER).is_some_and(|module| names.contains(&format!("{module}{COUNTED}")))
    };
    tensors.into_iter().filter(|tensor| !is_counter(&tensor.name)).collect()
}

/// `names` are the new ones and those before, in the order of the tensors.
fn distinct(tensors: Vec<Tensor>, names: Vec<(String, String)>) -> Result<Vec<Tensor>, Failure> {
    let mut known = BTreeMap::new();
    for (new, old) in names {
        if new.is_empty() {
            return Err(Failure::Other(format!("{old:?} would have no name any more")));
        }
        if let Some(other) = known.insert(new.clone(), old.clone()) {
            return Err(Failure::Other(format!("{other:?} and {old:?} would both be called {new:?}")));
        }
    }
    Ok(tensors)
}
