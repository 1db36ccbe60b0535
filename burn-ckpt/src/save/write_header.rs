//! The beginning of a container: everything before the first tensor's bytes. `stream_container` writes the tensors after it.

use std::collections::BTreeMap;
use std::path::Path;

use burn_pack::{Scalar, Tensor};

use crate::disk::storage::StoredFile;
use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::limits::Limits;
use crate::format::section::burnpack_writer;
use crate::save::encode_header::encode_header;

/// Makes the beginning of a container, and reserves the space for the whole of it in `file`, which is new. Returns the
/// beginning, and the container's size. Nothing is written.
pub(crate) fn write_header(
    path: &Path,
    file: &StoredFile,
    tensors: &[Tensor],
    scalars: &BTreeMap<String, Scalar>,
    strings: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<(Vec<u8>, u64)> {
    let invalid = |error| Error::Container {
        path: path.to_path_buf(),
        reason: "its header cannot be written".to_owned(),
        source: Some(PackError::boxed(error)),
    };
    limits.check_tensors(tensors)?;
    // burn-pack's writer checks that names differ and that lengths follow from the shapes. It reads no tensor for that.
    let checked = burnpack_writer(tensors.to_vec(), scalars, strings).size().map_err(invalid)? as u64;
    let (header, size) = encode_header(tensors, scalars, strings).map_err(invalid)?;
    if size != checked {
        let reason = format!("burn-pack plans {checked} bytes, and its header {size}");
        return Err(Error::Container { path: path.to_path_buf(), reason, source: None });
    }
    limits.check_file(tensors, header.len() as u64, size)?;
    file.reserve(size).map_err(Error::io("reserve the space for", path))?;
    Ok((header, size))
}
