//! Tensors that compare their bytes with their digest in the metadata when they are read. Tensors that are
//! not read cost nothing.

use std::path::Path;

use burn_pack::{DType, Tensor};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::container::read_errors::ReadErrors;
use crate::format::digest::blake3_hex;
use crate::format::metadata::{Metadata, TensorInfo};
use crate::text::printable::shown;

/// The tensors of a section, verified when they are read. Reads none yet.
pub(crate) fn verified(
    path: &Path,
    section: &str,
    tensors: Vec<Tensor>,
    metadata: &Metadata,
    read_errors: &ReadErrors,
) -> Result<Vec<Tensor>> {
    let verified = tensors.into_iter().map(|tensor| {
        let name = format!("{section}.{}", tensor.name);
        let expected =
            expected_info(path, &name, (tensor.dtype, tensor.shape.as_slice()), metadata)?.blake3.clone();
        let (own_name, dtype, shape, id) =
            (tensor.name.clone(), tensor.dtype, tensor.shape.clone(), tensor.param_id);
        let (length, path, read_errors) = (tensor.byte_len(), path.to_path_buf(), read_errors.clone());
        let read = move || {
            let bytes = tensor.to_bytes()?;
            // A slice of a file-backed buffer would panic if the file was cut off in the meantime.
            let slice = bytes.read(Default::default());
            let slice = slice.map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
            let found = blake3_hex(slice);
            if found == expected {
                return Ok(bytes);
            }
            let expected = format!("blake3:{} for {}", shown(&expected), shown(&name));
            let error = Error::checksum(&path, expected, format!("blake3:{found}"));
            let text = error.to_string();
            read_errors.insert(&tensor.name, error);
            Err(burn_pack::Error::ValidationError(text))
        };
        Ok(Tensor::deferred(own_name, dtype, shape, id, length, read))
    });
    verified.collect()
}

/// What the metadata says about a tensor, by its name in the file. An error if the header says something
/// else.
pub(crate) fn expected_info<'a>(
    path: &Path,
    name: &str,
    (dtype, shape): (DType, &[usize]),
    metadata: &'a Metadata,
) -> Result<&'a TensorInfo> {
    let Some(info) = metadata.tensors.get(name) else {
        return Err(Error::checksum(path, "other tensors".to_owned(), format!("a tensor {}", shown(name))));
    };
    let dtype = dtype.name();
    if info.dtype != dtype || info.shape != shape {
        let stated = shown(&format!("{} {:?}", info.dtype, info.shape));
        let expected = format!("{stated} for {}", shown(name));
        return Err(Error::checksum(path, expected, format!("{dtype} {shape:?}")));
    }
    Ok(info)
}

/// Compares the hyperparameters in the header with those in the metadata. There is no digest of them.
pub(crate) fn check_hparams(path: &Path, hparams: &Value, metadata: &Metadata) -> Result<()> {
    if *hparams == metadata.hparams {
        return Ok(());
    }
    let described = |value: &Value| format!("the hyperparameters {}", shown(&value.to_string()));
    Err(Error::checksum(path, described(&metadata.hparams), described(hparams)))
}
