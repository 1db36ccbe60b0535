//! Tensors that verify themselves: each compares its bytes with its digest in the metadata when it is read, so that what
//! is not read costs nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn_pack::Tensor;
use serde_json::Value;

use crate::error::{Error, Result, disagreement};
use crate::format::digest::blake3_of_tensor;
use crate::format::metadata::{Metadata, TensorInfo};

/// The tensors that were read and have other bytes than were written, by the names that they have in their section. burn
/// hands on only an error's text; here it is whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Damage(Arc<Mutex<BTreeMap<String, Error>>>);

impl Damage {
    fn note(&self, tensor: &str, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tensor.to_owned(), error);
    }

    /// What is wrong with a tensor that was read.
    pub(crate) fn take(&self, tensor: &str) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tensor)
    }
}

/// The tensors of a section, to be verified as they are read. Reads none yet.
pub(crate) fn verified(
    path: &Path,
    section: &str,
    tensors: Vec<Tensor>,
    metadata: &Metadata,
    damage: &Damage,
) -> Result<Vec<Tensor>> {
    let verified = tensors.into_iter().map(|tensor| {
        let name = format!("{section}.{}", tensor.name);
        let expected = described(path, &name, &tensor, metadata)?.blake3.clone();
        let (own_name, dtype, shape, id) =
            (tensor.name.clone(), tensor.dtype, tensor.shape.clone(), tensor.param_id);
        let (length, path, damage) = (tensor.byte_len(), path.to_path_buf(), damage.clone());
        let read = move || {
            let bytes = tensor.to_bytes()?;
            // Not as a slice: that panics when the file was cut in the meantime.
            let slice = bytes.read(Default::default());
            let slice = slice.map_err(|error| burn_pack::Error::IoError(format!("{name}: {error}")))?;
            let found = blake3_of_tensor(slice);
            if found == expected {
                return Ok(bytes);
            }
            let expected = format!("blake3:{expected} for {name}");
            let error = disagreement(&path, expected, format!("blake3:{found}"));
            let text = error.to_string();
            damage.note(&tensor.name, error);
            Err(burn_pack::Error::ValidationError(text))
        };
        Ok(Tensor::deferred(own_name, dtype, shape, id, length, read))
    });
    verified.collect()
}

/// What the metadata says of a tensor, by its name in the file, if the header says the same.
pub(crate) fn described<'a>(
    path: &Path,
    name: &str,
    tensor: &Tensor,
    metadata: &'a Metadata,
) -> Result<&'a TensorInfo> {
    let Some(info) = metadata.tensors.get(name) else {
        return Err(disagreement(path, "other tensors".to_owned(), format!("a tensor {name}")));
    };
    let (dtype, shape) = (tensor.dtype.name(), tensor.shape.as_slice());
    if info.dtype != dtype || info.shape != shape {
        let expected = format!("{} {:?} for {name}", info.dtype, info.shape);
        return Err(disagreement(path, expected, format!("{dtype} {shape:?}")));
    }
    Ok(info)
}

/// Compares the hyperparameters in the header, of which there is no digest, with those in the metadata.
pub(crate) fn check_hparams(path: &Path, hparams: &Value, metadata: &Metadata) -> Result<()> {
    if *hparams == metadata.hparams {
        return Ok(());
    }
    let shown = |value: &Value| format!("the hyperparameters {value}");
    Err(disagreement(path, shown(&metadata.hparams), shown(hparams)))
}
