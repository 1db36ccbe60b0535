//! Writing a safetensors file, one tensor in memory at a time.
//!
//! The order is that of the `safetensors` crate's own writer: tensors are sorted by the width of their type,
//! then by name, so that each is aligned. That writer is not used, as it cannot report a tensor that cannot
//! be read, and does not sync the file.

use std::io::{BufWriter, Write};
use std::path::Path;

use burn_ckpt::burn_pack::{DType, Tensor};
use burn_ckpt::plumbing::{Existing, MAX_SAFETENSORS_HEADER, PackError, write_whole};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value};

use super::Notes;
use super::dtypes::{bools, to_safetensors};
use crate::verb_result::Failure;

/// The key in the header that does not belong to a tensor.
const METADATA_KEY: &str = "__metadata__";
/// The header's length is a multiple of this.
const ALIGNMENT: usize = 8;

/// Writes the tensors to `path`. On an error, an existing file stays as it was.
///
/// # Errors
///
/// When safetensors does not support a tensor's type, two tensors have the same name, a tensor cannot be
/// read, or the file cannot be written.
pub fn write(path: &Path, tensors: Vec<Tensor>, notes: &Notes, replace: bool) -> Result<(), Failure> {
    let mut entries = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        entries.push((stored_type(&tensor)?, tensor));
    }
    entries.sort_by(|(left, a), (right, b)| right.cmp(left).then_with(|| a.name.cmp(&b.name)));
    let header = header(&entries, notes)?;

    let existing = if replace { Existing::Replace } else { Existing::Keep };
    write_whole(path, existing, |file| {
        let failed =
            |error: std::io::Error| Failure::Other(format!("cannot write {}: {error}", path.display()));
        let mut file = BufWriter::with_capacity(1024 * 1024, file);
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
        for (_, tensor) in entries {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype);
            let unreadable =
                |error| Failure::Other(format!("the tensor {name} cannot be read: {}", PackError(error)));
            let bytes = tensor.into_bytes().map_err(unreadable)?;
            match dtype {
                DType::Bool(store) => file.write_all(&bools(store, &bytes)),
                _ => file.write_all(&bytes),
            }
            .map_err(failed)?;
        }
        file.flush().map_err(failed)
    })
}

/// The safetensors type under which a tensor is written.
fn stored_type(tensor: &Tensor) -> Result<Dtype, Failure> {
    let name = &tensor.name;
    if name == METADATA_KEY {
        return Err(Failure::Other(format!("a tensor cannot be called {name} in a safetensors file")));
    }
    to_safetensors(tensor.dtype).ok_or_else(|| {
        Failure::Other(format!(
            "the tensor {name} is quantised, which safetensors does not support: export a checkpoint from before \
             quantisation"
        ))
    })
}

fn header(entries: &[(Dtype, Tensor)], notes: &Notes) -> Result<Vec<u8>, Failure> {
    let failed = |error: serde_json::Error| Failure::Other(format!("the header cannot be written: {error}"));
    let mut header = Map::new();
    header.insert(METADATA_KEY.to_owned(), serde_json::to_value(&notes.0).map_err(failed)?);
    let mut offset = 0;
    for (dtype, tensor) in entries {
        let shape = tensor.shape.to_vec();
        let end = offset + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let info = TensorInfo { dtype: *dtype, shape, data_offsets: (offset, end) };
        offset = end;
        let info: Value = serde_json::to_value(info).map_err(failed)?;
        if header.insert(tensor.name.clone(), info).is_some() {
            return Err(Failure::Other(format!("two tensors are called {}", tensor.name)));
        }
    }
    let mut header = serde_json::to_vec(&header).map_err(failed)?;
    // The format's own crate checks the header, as readers do.
    serde_json::from_slice::<Metadata>(&header).map_err(failed)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    if header.len() as u64 > MAX_SAFETENSORS_HEADER {
        let length = header.len();
        return Err(Failure::Other(format!(
            "the header would have {length} bytes, and safetensors allows {MAX_SAFETENSORS_HEADER}"
        )));
    }
    Ok(header)
}
