//! The beginning of a container: its CBOR header, and the places of its tensors, checked against the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn_pack::{HEADER_SIZE, Header};

use crate::error::{Error, Result};
use crate::format::container::descriptors::{Descriptor, Descriptors};
use crate::format::container::foreign_format::ForeignFormat;
use crate::format::container::limits::MAX_HEADER_BYTES;
use crate::format::container::open_file::OpenFile;
use crate::format::container::stored_tensor::StoredTensor;

/// Reads a container's header. Returns what it says, and its length.
pub(crate) fn read_descriptors(file: &OpenFile) -> Result<(Descriptors, u32)> {
    let (length, cbor) = read_cbor(file)?;
    let descriptors = Descriptors::decode(&cbor)
        .map_err(|error| Error::damaged(file.path(), "its header cannot be parsed", Some(Box::new(error))))?;
    Ok((descriptors, length))
}

/// The tensors of a container whose header has this length, each at a place of its own in the file.
pub(crate) fn stored_tensors(
    file: &Arc<OpenFile>,
    descriptors: BTreeMap<String, Descriptor>,
    header_bytes: u32,
) -> Result<Vec<StoredTensor>> {
    let damaged = |reason| Error::damaged(file.path(), reason, None);
    let tensors = descriptors
        .into_iter()
        .map(|(name, stored)| StoredTensor::checked(name, stored, header_bytes, file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(damaged)?;
    StoredTensor::check_apart(&tensors).map_err(damaged)?;
    Ok(tensors)
}

/// Reads the header's CBOR, and its length. Compares the length with the file's before memory is allocated
/// for it.
fn read_cbor(file: &OpenFile) -> Result<(u32, Vec<u8>)> {
    let (path, size) = (file.path(), file.size());
    if let Some(reason) = file.placeholder()? {
        return Err(Error::not_a_checkpoint(path, reason));
    }
    if size < HEADER_SIZE as u64 {
        return Err(Error::not_a_checkpoint(path, format!("it has only {size} bytes")));
    }
    let mut bytes = [0; HEADER_SIZE];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("read", path))?;
    let Ok(header) = Header::from_bytes(&bytes) else {
        let reason = foreign(&bytes);
        return Err(Error::not_a_checkpoint(path, reason.unwrap_or("it does not begin like one".to_owned())));
    };
    let (version, supported) = (u32::from(header.version), u32::from(burn_pack::FORMAT_VERSION));
    check_version(path, "burnpack format", version, supported)?;
    let length = header.metadata_size;
    let needed = HEADER_SIZE as u64 + u64::from(length);
    if size < needed {
        let reason = format!("it has {size} bytes, and its header alone needs {needed}");
        return Err(Error::damaged(path, reason, None));
    }
    if length > MAX_HEADER_BYTES {
        let reason = format!("its header has {length} bytes, and {MAX_HEADER_BYTES} are allowed");
        return Err(Error::damaged(path, reason, None));
    }
    let mut cbor = vec![0; length as usize];
    file.read_exact_at(&mut cbor, HEADER_SIZE as u64).map_err(Error::io("read", path))?;
    Ok((length, cbor))
}

pub(crate) fn check_version(path: &Path, format: &'static str, found: u32, supported: u32) -> Result<()> {
    if found > supported {
        return Err(Error::NewerFormat { path: path.to_path_buf(), format, found, supported });
    }
    Ok(())
}

/// Which format a file seems to have that does not begin like a checkpoint, and what to do with it.
fn foreign(start: &[u8]) -> Option<String> {
    let what = match ForeignFormat::of(start)? {
        ForeignFormat::Safetensors => "a safetensors file",
        ForeignFormat::Zip => "a ZIP archive, such as PyTorch's torch.save writes",
        ForeignFormat::Tar => "a TAR archive, such as PyTorch's first versions wrote",
        ForeignFormat::Pickle => "a pickle, such as PyTorch's older versions write",
    };
    Some(format!("it looks like {what}; `burn-ckpt import` makes a checkpoint of such a file"))
}
