//! Reading a file that `torch.save` wrote, with burn-store's reader. It runs no code in the file.

use std::path::Path;

use burn::store::{ModuleStore, PytorchStore};

use super::catch_panics::catch_panics;
use super::{Foreign, Notes};

/// The tensors of a file in alphabetical order. They stay on disk until they are read. The keys of nested
/// dictionaries are joined by dots. With `top_level_key`, only the tensors under that key.
///
/// # Errors
///
/// When the file is invalid or has no such key.
pub fn read(path: &Path, top_level_key: Option<&str>) -> Result<Foreign, String> {
    let tensors = catch_panics(|| {
        // The caller makes indices contiguous, and reports two tensors that get the same name.
        let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
        if let Some(key) = top_level_key {
            store = store.with_top_level_key(key);
        }
        let tensors = store.get_all_tensors().map_err(|error| error.to_string())?;
        Ok(tensors.values().cloned().collect())
    })?;
    Ok(Foreign { tensors, notes: Notes::default() })
}
