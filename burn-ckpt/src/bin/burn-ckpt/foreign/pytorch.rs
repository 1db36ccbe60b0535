//! Reading what `torch.save` wrote, by burn-store's reader, which runs no code that the file holds.

use std::path::Path;

use burn::store::{ModuleStore, PytorchStore};

use super::guard::guarded;
use super::{Foreign, Notes};

/// The tensors of a file, in alphabetical order, still on disk. Of nested dictionaries the names are joined by dots;
/// with `top_level_key`, only what stands under that key.
///
/// # Errors
///
/// When the file is not what it seems to be, or has no such key.
pub fn read(path: &Path, top_level_key: Option<&str>) -> Result<Foreign, String> {
    let tensors = guarded(|| {
        // Names are changed by the caller, who can tell which two become one.
        let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
        if let Some(key) = top_level_key {
            store = store.with_top_level_key(key);
        }
        let tensors = store.get_all_tensors().map_err(|error| error.to_string())?;
        Ok(tensors.values().cloned().collect())
    })?;
    Ok(Foreign { tensors, notes: Notes::default() })
}
