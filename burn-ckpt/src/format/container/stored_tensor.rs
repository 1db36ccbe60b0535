//! A tensor in an open file: its place is checked against the file before any byte is read.

use std::io;
use std::sync::Arc;

use burn_pack::{Bytes, DType, Tensor, aligned_data_section_start};

use crate::error::Error;
use crate::format::container::descriptors::Descriptor;
use crate::format::container::open_file::OpenFile;
use crate::format::container::read_errors::ReadErrors;
use crate::format::container::zeroed::zeroed;
use crate::text::printable::shown;

/// How much of a tensor is in memory at a time while it is hashed.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes that an element of a quantised tensor takes, its share of the scales included: one scale of
/// 8 bytes an element.
const MAX_QUANTISED_BYTES: usize = 16;

/// A tensor in a file, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) param_id: Option<u64>,
    /// The file that it is in.
    pub(crate) file: Arc<OpenFile>,
    /// Position of the first byte in the file.
    start: u64,
    bytes: usize,
}

impl StoredTensor {
    /// Checks what a header of this many bytes says about a tensor.
    pub(crate) fn checked(
        name: String,
        stored: Descriptor,
        header_bytes: u32,
        file: &Arc<OpenFile>,
    ) -> Result<Self, String> {
        let file_size = file.size();
        let of = |reason: String| format!("the tensor {} {reason}", shown(&name));
        let begin = aligned_data_section_start(header_bytes as usize) as u64;
        let (from, to) = stored.data_offsets;
        let (Some(start), Some(end)) = (begin.checked_add(from), begin.checked_add(to)) else {
            return Err(of(format!("is at {from} to {to}, which no file has")));
        };
        if end < start || end > file_size {
            return Err(of(format!(
                "is at byte {start} to {end}, and the file has {file_size}: it was cut off"
            )));
        }
        let too_large = || of(format!("has the shape {:?}, which is too large", stored.shape));
        let shape = stored.shape.iter().map(|&length| usize::try_from(length)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| too_large())?;
        let dtype = stored.dtype;
        // A length of 0 makes no other length too small to count: burn multiplies them without it.
        let mut lengths = shape.iter().filter(|&&length| length > 0);
        let capacity = lengths.try_fold(MAX_QUANTISED_BYTES, |product, &length| product.checked_mul(length));
        if capacity.is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            return Err(too_large());
        }
        let elements: usize = shape.iter().product();
        let bytes = usize::try_from(end - start).map_err(|_| too_large())?;
        let fits = match dtype {
            // Its packed values and scales have a length of their own.
            DType::QFloat(_) => bytes <= elements * MAX_QUANTISED_BYTES + MAX_QUANTISED_BYTES,
            dtype => bytes == elements * dtype.size(),
        };
        if !fits {
            let dtype = dtype.name();
            return Err(of(format!("has {bytes} bytes, which {dtype} {shape:?} does not have")));
        }
        Ok(Self { name, dtype, shape, param_id: stored.param_id, file: Arc::clone(file), start, bytes })
    }

    /// Checks that no byte of the file belongs to two tensors.
    pub(crate) fn check_apart(tensors: &[Self]) -> Result<(), String> {
        let mut placed: Vec<&Self> = tensors.iter().filter(|tensor| tensor.bytes > 0).collect();
        placed.sort_by_key(|tensor| tensor.start);
        for pair in placed.windows(2) {
            let [first, second] = pair else { continue };
            if first.start + first.bytes as u64 > second.start {
                let (first, second) = (shown(&first.name), shown(&second.name));
                return Err(format!("the tensors {first} and {second} have bytes in common"));
            }
        }
        Ok(())
    }

    /// The tensor under a name of its section. Its bytes are read from the open file when they are asked for.
    pub(crate) fn tensor(&self, name: &str, errors: &ReadErrors) -> Tensor {
        let (own, errors, name_there) = (self.clone(), errors.clone(), name.to_owned());
        let read = move || {
            own.read().map_err(|error| {
                let text = error.to_string();
                errors.insert(&name_there, Error::io("read a tensor of", own.file.path())(error));
                burn_pack::Error::IoError(text)
            })
        };
        Tensor::deferred(name.to_owned(), self.dtype, self.shape.clone(), self.param_id, self.bytes, read)
    }

    /// BLAKE3 of the tensor's bytes in lower-case hexadecimal, with one piece of them in memory at a time. An
    /// error of `progress` ends the work.
    pub(crate) fn blake3(&self, progress: &dyn Fn(u64) -> io::Result<()>) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; self.bytes.min(PIECE_BYTES)];
        for position in (0..self.bytes).step_by(PIECE_BYTES) {
            let read = self.hash_at(position, &mut piece, &mut hasher)?;
            progress(read as u64)?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Hashes the next piece of the tensor's bytes, from a position on. Returns its length: 0 at their end.
    pub(crate) fn hash_piece(&self, position: usize, hasher: &mut blake3::Hasher) -> io::Result<usize> {
        let mut piece = vec![0; self.bytes.saturating_sub(position).min(PIECE_BYTES)];
        self.hash_at(position, &mut piece, hasher)
    }

    fn hash_at(&self, position: usize, piece: &mut [u8], hasher: &mut blake3::Hasher) -> io::Result<usize> {
        let length = self.bytes.saturating_sub(position).min(piece.len());
        let piece = &mut piece[..length];
        self.file.read_exact_at(piece, self.start + position as u64)?;
        hasher.update(piece);
        Ok(length)
    }

    fn read(&self) -> io::Result<Bytes> {
        let mut bytes = zeros(self.bytes, self.dtype)?;
        self.file.read_exact_at(&mut bytes, self.start)?;
        Ok(bytes)
    }
}

/// A buffer that a tensor of the type takes without a copy: it is aligned for its elements.
fn zeros(length: usize, dtype: DType) -> io::Result<Bytes> {
    let element = if matches!(dtype, DType::QFloat(_)) { 1 } else { dtype.size() };
    Ok(match element {
        8 => Bytes::from_elems(zeroed::<u64>(length / 8)?),
        4 => Bytes::from_elems(zeroed::<u32>(length / 4)?),
        2 => Bytes::from_elems(zeroed::<u16>(length / 2)?),
        _ => Bytes::from_elems(zeroed::<u8>(length)?),
    })
}
