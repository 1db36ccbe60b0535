//! Changing the names of imported tensors: the user's replacements and second names, contiguous layer
//! numbers, and leaving out counters that burn does not have.

use std::collections::{BTreeMap, BTreeSet};

use burn::store::{KeyRemapper, map_indices_contiguous};
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::plumbing::without_controls;

use crate::foreign::listed;
use crate::terminal::output::say;
use crate::verb_result::Failure;

/// Last part of the name of the batch counter of PyTorch's batch normalisation.
const COUNTER: &str = "num_batches_tracked";
/// Last part of the name of a tensor that is always beside the counter.
const COUNTED: &str = "running_mean";

/// A replacement of parts of names.
#[derive(Debug, Clone)]
pub struct Rename {
    /// As the command line has it.
    pub text: String,
    pub remapper: KeyRemapper,
}

/// Renames tensors by one replacement after the other. Prints a note for one that replaces nothing.
///
/// # Errors
///
/// When two tensors get the same name.
pub fn renamed(tensors: Vec<Tensor>, renames: &[Rename]) -> Result<Vec<Tensor>, Failure> {
    renames.iter().try_fold(tensors, |tensors, rename| {
        let (tensors, names) = rename.remapper.remap(tensors);
        if names.iter().all(|(new, old)| new == old) {
            say(format!("note: --rename {} changes no name", rename.text));
        }
        distinct(tensors, names)
    })
}

/// Makes the layer numbers of each list of layers contiguous.
///
/// # Errors
///
/// When two tensors get the same name (`0.weight` and `00.weight`).
pub fn contiguous(tensors: Vec<Tensor>) -> Result<Vec<Tensor>, Failure> {
    let (tensors, names) = map_indices_contiguous(tensors);
    distinct(tensors, names)
}

/// Leaves out the batch counters of PyTorch's batch normalisation.
pub fn without_counters(tensors: Vec<Tensor>) -> Vec<Tensor> {
    let names: BTreeSet<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let is_counter = |name: &str| {
        name.strip_suffix(COUNTER).is_some_and(|module| names.contains(&format!("{module}{COUNTED}")))
    };
    tensors.into_iter().filter(|tensor| !is_counter(&tensor.name)).collect()
}

/// Adds each tensor FROM under a second name TO, for weights that the model has twice and the file once.
///
/// # Errors
///
/// When there is no tensor FROM, or one that is called TO.
pub fn copied(mut tensors: Vec<Tensor>, copies: &[(String, String)]) -> Result<Vec<Tensor>, Failure> {
    for (from, to) in copies {
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        let Some(tensor) = find(from) else {
            let names = listed(tensors.iter().map(|tensor| without_controls(&tensor.name)).collect());
            return Err(Failure::Other(format!(
                "--copy {from}={to}: there is no tensor {from:?}; after --rename, and with contiguous layer numbers, \
                 there are {names}"
            )));
        };
        if find(to).is_some() {
            return Err(Failure::Other(format!("--copy {from}={to}: there is a tensor {to:?} already")));
        }
        let mut copy = tensor.clone();
        copy.name.clone_from(to);
        tensors.push(copy);
    }
    Ok(tensors)
}

/// Checks that the names are different. `names` has the new and the old name of each tensor.
fn distinct(tensors: Vec<Tensor>, names: Vec<(String, String)>) -> Result<Vec<Tensor>, Failure> {
    let mut known = BTreeMap::new();
    for (new, old) in names {
        if new.is_empty() {
            return Err(Failure::Other(format!("the new name of {old:?} would be empty")));
        }
        if let Some(other) = known.insert(new.clone(), old.clone()) {
            return Err(Failure::Other(format!("{other:?} and {old:?} would both be called {new:?}")));
        }
    }
    Ok(tensors)
}
