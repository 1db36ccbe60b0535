//! The beginning of a container: everything before the first tensor's bytes, made by burn-pack's own writer.
//!
//! `stream_container` writes the tensors after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_pack::{Scalar, Tensor};

use crate::disk::preallocate;
use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::section::burnpack_writer;

/// Writes the beginning of a container to `file`, which is new and open for writing. Returns the beginning, and the size of
/// the whole container, for which the space is reserved.
///
/// burn-pack's writer computes the layout from the tensors' lengths alone. It writes the header, then asks for the bytes of
/// the first tensor: the outlines below answer with an error, which ends the writing there.
pub(crate) fn write_header(
    path: &Path,
    file: &File,
    tensors: &[Tensor],
    scalars: &BTreeMap<String, Scalar>,
    strings: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, u64)> {
    let header_is_written = Arc::new(AtomicBool::new(false));
    let outlines = tensors.iter().map(|tensor| outline(tensor, &header_is_written)).collect();
    let writer = burnpack_writer(outlines, scalars, strings).auto_extension(false);
    let invalid = |error| Error::Container {
        path: path.to_path_buf(),
        reason: "its header cannot be written".to_owned(),
        source: Some(PackError::boxed(error)),
    };
    let size = writer.size().map_err(invalid)? as u64;
    let reserve = || preallocate::reserve(file, size).map_err(Error::io("reserve the space for", path));
    // Before anything is written, as burn-pack reports a full disk without its cause.
    reserve()?;
    match writer.write_to_file_in_place(path) {
        Err(error) if !header_is_written.load(Ordering::Relaxed) => return Err(invalid(error)),
        _ => {}
    }
    let header = fs::read(path).map_err(Error::io("read", path))?;
    // Again, as burn-pack has truncated the file.
    reserve()?;
    Ok((header, size))
}

/// A tensor of the same name, type and length whose bytes are an error.
fn outline(tensor: &Tensor, is_read: &Arc<AtomicBool>) -> Tensor {
    let is_read = Arc::clone(is_read);
    let no_bytes = move || {
        is_read.store(true, Ordering::Relaxed);
        Err(burn_pack::Error::IoError("the tensors are written by burn-ckpt".to_owned()))
    };
    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
    Tensor::deferred(name, tensor.dtype, shape, tensor.param_id, tensor.byte_len(), no_bytes)
}
