//! Reading a safetensors file: the header at once, a tensor when its bytes are read.
//!
//! burn-store's reader is not used for three reasons. It does not support `u16`, which `export` writes. It
//! maps the file into memory, so that a file that is cut off while it is read ends the program. It parses the
//! header again for each tensor.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Shape;
use burn_ckpt::burn_pack::{Bytes, Error, Tensor};
use burn_ckpt::plumbing::storage::StoredFile;
use burn_ckpt::plumbing::{MAX_SAFETENSORS_HEADER, parse_json, shown, zeroed};
use parking_lot::Mutex;
use safetensors::tensor::{Metadata, TensorInfo};

use super::dtypes::from_safetensors;
use super::{Foreign, Notes};

/// The largest header that is read, in bytes. The names of as many tensors as a checkpoint may have, and
/// hyperparameters of the largest size, fit.
const MAX_HEADER_BYTES: u64 = 40 * 1024 * 1024;
/// The most values in a header: those of as many tensors as a checkpoint may have, each of four dimensions.
const MAX_HEADER_VALUES: usize = 1_600_000;
/// Number of bytes of the header's length.
const LENGTH_BYTES: u64 = 8;

/// The tensors of a file, in the order in which they are stored, and its `__metadata__`.
///
/// # Errors
///
/// When the header does not fit the file, or a tensor has a type that burn does not support.
pub fn read(path: &Path) -> Result<Foreign, String> {
    let mut file = StoredFile::open(path).map_err(|error| error.to_string())?;
    let (header, data_start) = read_header(&mut file)?;
    let file = Arc::new(Mutex::new(file));
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        tensors.push(deferred(&file, data_start, name, info)?);
    }
    let notes = header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone()));
    Ok(Foreign { tensors, notes: Notes(notes.collect()) })
}

/// The header, and where the bytes of the tensors begin. Its claims are compared with the file's size before
/// memory is allocated for them.
fn read_header(file: &mut StoredFile) -> Result<(Metadata, u64), String> {
    let size = file.stat().map_err(|error| error.to_string())?.len();
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(|error| error.to_string())?;
    let length = u64::from_le_bytes(length);
    let data_start = LENGTH_BYTES.saturating_add(length);
    if length > MAX_SAFETENSORS_HEADER || data_start > size {
        return Err(format!("its header claims {length} bytes, and the file has {size}"));
    }
    if length > MAX_HEADER_BYTES {
        return Err(format!("its header has {length} bytes, and {MAX_HEADER_BYTES} are allowed"));
    }
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header).map_err(|error| error.to_string())?;
    // Also checks that the tensors follow one after the other, each of the length that its type and shape
    // require.
    let header: Metadata =
        parse_json(&header, MAX_HEADER_VALUES).map_err(|error| format!("its header is invalid: {error}"))?;
    let needed = data_start.saturating_add(header.data_len() as u64);
    if needed != size {
        return Err(format!("its header describes {needed} bytes, and the file has {size}"));
    }
    Ok((header, data_start))
}

/// A tensor whose bytes are read when they are needed.
fn deferred(
    file: &Arc<Mutex<StoredFile>>,
    data_start: u64,
    name: String,
    info: &TensorInfo,
) -> Result<Tensor, String> {
    let Some(dtype) = from_safetensors(info.dtype) else {
        let (name, dtype) = (shown(&name), info.dtype);
        return Err(format!("the tensor {name} has the type {dtype}, which burn does not support"));
    };
    let (begin, end) = info.data_offsets;
    let (file, at, length) = (Arc::clone(file), data_start + begin as u64, end - begin);
    let read = move || {
        let mut file = file.lock();
        // The length was compared with the file's size when the header was read.
        let mut bytes = zeroed::<u8>(length).map_err(|error| Error::IoError(error.to_string()))?;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| Error::IoError(error.to_string()))?;
        Ok(Bytes::from_bytes_vec(bytes))
    };
    Ok(Tensor::deferred(name, dtype, Shape::from(info.shape.clone()), None, length, read))
}
