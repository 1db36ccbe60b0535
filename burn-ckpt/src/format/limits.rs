//! How large a checkpoint may be: what the reader accepts, and so what is checked before a byte is written.

use burn_pack::{MAX_TENSOR_SIZE, Tensor};

use crate::error::{Error, Result};
use crate::format::container::limits::{MAX_ENTRY_NAME_BYTES, MAX_HEADER_BYTES, MAX_RANK, MAX_TENSORS};
use crate::format::container::shown::shown;

/// The largest metadata that is read or written, in bytes. A checkpoint of 100,000 tensors needs about 20 MB.
pub const MAX_METADATA_BYTES: u64 = 48 * 1024 * 1024;

/// How many of a file's tensors are the checkpoint's own.
const OWN_ENTRIES: u64 = 2;

/// The largest file that is written, in bytes: 16 TiB, what ext4 holds. burn's own reader (burn-pack 0.22) opens files up to 100 GiB.
const MAX_FILE_BYTES: u64 = 16 << 40;

/// The limits of a checkpoint. A file within them can be read.
///
/// Those of a tensor, of their number and of the header are burn-pack's, since burn reads its records through burn-pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of the largest tensor.
    pub tensor_bytes: u64,
    /// The bytes of the file.
    pub file_bytes: u64,
    /// The number of tensors, with the two entries of the checkpoint's own.
    pub tensors: u64,
    /// The bytes of the container's header: names, shapes, hyperparameters and the trainer's state.
    pub header_bytes: u64,
    /// The bytes of the metadata.
    pub metadata_bytes: u64,
}

impl Limits {
    /// What the reader accepts.
    pub const READER: Self = Self {
        tensor_bytes: MAX_TENSOR_SIZE as u64,
        file_bytes: MAX_FILE_BYTES,
        tensors: MAX_TENSORS as u64,
        header_bytes: MAX_HEADER_BYTES as u64,
        metadata_bytes: MAX_METADATA_BYTES,
    };

    /// Compares the tensors of a file with the limits. Reads none.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] naming the limit that is exceeded.
    pub fn check_tensors(&self, tensors: &[Tensor]) -> Result<()> {
        for tensor in tensors {
            let what = || format!("the tensor {}", shown(&tensor.name));
            within(what, "bytes", tensor.byte_len() as u64, self.tensor_bytes)?;
            within(what, "dimensions", tensor.shape.len() as u64, MAX_RANK as u64)?;
            let name = || format!("the name of {}", what());
            within(name, "bytes", tensor.name.len() as u64, MAX_ENTRY_NAME_BYTES as u64)?;
        }
        within(|| "the checkpoint".to_owned(), "tensors", tensors.len() as u64, self.tensors)?;
        let bytes = tensors.iter().map(|tensor| tensor.byte_len() as u64).fold(0, u64::saturating_add);
        within(|| "the checkpoint".to_owned(), "bytes", bytes, self.file_bytes)
    }

    /// Compares the tensors of a state with the limits, for a check before training. Reads none.
    ///
    /// # Errors
    ///
    /// As for [`Limits::check_tensors`].
    pub fn check_state(&self, tensors: &[Tensor]) -> Result<()> {
        let left = Self { tensors: self.tensors.saturating_sub(OWN_ENTRIES), ..*self };
        left.check_tensors(tensors)
    }

    /// Compares a planned file with the limits.
    ///
    /// # Errors
    ///
    /// As for [`Limits::check_tensors`].
    pub(crate) fn check_file(&self, tensors: &[Tensor], header_bytes: u64, file_bytes: u64) -> Result<()> {
        self.check_tensors(tensors)?;
        within(|| "the checkpoint's header".to_owned(), "bytes", header_bytes, self.header_bytes)?;
        within(|| "the checkpoint".to_owned(), "bytes", file_bytes, self.file_bytes)
    }

    /// Compares the length of the metadata with its limit.
    pub(crate) fn check_metadata(&self, bytes: u64) -> Result<()> {
        within(|| "the checkpoint's metadata".to_owned(), "bytes", bytes, self.metadata_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::READER
    }
}

fn within(what: impl FnOnce() -> String, unit: &'static str, found: u64, limit: u64) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: what(), unit, found, limit })
}
