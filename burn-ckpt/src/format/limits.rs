//! How large a checkpoint may be: what the reader accepts, and so what is checked before a byte is written.

use burn_pack::{MAX_FILE_SIZE, MAX_TENSOR_SIZE, Tensor};

use crate::error::{Error, Result};
use crate::format::container::limits::{
    MAX_ENTRY_NAME_BYTES, MAX_HEADER_BYTES, MAX_RANK, MAX_SHARDS, MAX_STATE_TENSORS, MAX_TENSORS,
};
use crate::text::printable::shown;

/// The largest metadata that is read or written, in bytes. A checkpoint of 100,000 tensors needs about 20 MB.
pub const MAX_METADATA_BYTES: u64 = 48 * 1024 * 1024;

/// The limits of a checkpoint. A file within them can be read.
///
/// Those of a tensor, of a file and of a section are burn-pack's: burn's own reader opens each file, and burn
/// reads its records, of a section each, through burn-pack. A state that exceeds those of one file is saved
/// in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of the largest tensor.
    pub tensor_bytes: u64,
    /// The bytes of a file.
    pub file_bytes: u64,
    /// The number of tensors in a file, with the two entries of the checkpoint's own.
    pub tensors: u64,
    /// The bytes of a container's header: names, shapes, hyperparameters and the trainer's state.
    pub header_bytes: u64,
    /// The number of tensors in a section.
    pub section_tensors: u64,
    /// The number of tensors in all files.
    pub state_tensors: u64,
    /// The number of files beside the index.
    pub shards: u64,
    /// The bytes of the metadata.
    pub metadata_bytes: u64,
}

impl Limits {
    /// What the reader accepts.
    pub const READER: Self = Self {
        tensor_bytes: MAX_TENSOR_SIZE as u64,
        file_bytes: MAX_FILE_SIZE,
        tensors: MAX_TENSORS as u64,
        header_bytes: MAX_HEADER_BYTES as u64,
        section_tensors: MAX_TENSORS as u64,
        state_tensors: MAX_STATE_TENSORS as u64,
        shards: MAX_SHARDS as u64,
        metadata_bytes: MAX_METADATA_BYTES,
    };

    /// The same with another limit of a file's bytes. A file never has more than burn's own reader opens.
    #[must_use]
    pub fn with_max_file_bytes(self, bytes: u64) -> Self {
        Self { file_bytes: bytes.min(Self::READER.file_bytes), ..self }
    }

    /// Compares each tensor of a state with the limits. Reads none.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] naming the limit that is exceeded.
    pub(crate) fn check_tensors(&self, tensors: &[Tensor]) -> Result<()> {
        for tensor in tensors {
            let what = || format!("the tensor {}", shown(&tensor.name));
            within(what, "bytes", tensor.byte_len() as u64, self.tensor_bytes, SMALLER)?;
            let fewer = "give it fewer dimensions";
            within(what, "dimensions", tensor.shape.len() as u64, MAX_RANK as u64, fewer)?;
            let name = || format!("the name of {}", what());
            let shorter = "give it, or the modules that it is in, shorter names";
            within(name, "bytes", tensor.name.len() as u64, MAX_ENTRY_NAME_BYTES as u64, shorter)?;
        }
        within(|| "the checkpoint".to_owned(), "tensors", tensors.len() as u64, self.state_tensors, FEWER)
    }

    /// Compares the number of a section's tensors with the limits.
    ///
    /// # Errors
    ///
    /// As for [`Limits::check_tensors`].
    pub(crate) fn check_section(&self, section: &str, tensors: usize) -> Result<()> {
        let what = || format!("the section {}", shown(section));
        within(what, "tensors", tensors as u64, self.section_tensors, FEWER)
    }

    /// Compares the length of a container's header with its limit.
    ///
    /// # Errors
    ///
    /// As for [`Limits::check_tensors`].
    pub(crate) fn check_header(&self, what: impl FnOnce() -> String, bytes: u64) -> Result<()> {
        within(what, "bytes", bytes, self.header_bytes, SHORTER)
    }

    /// Compares the size of a file that cannot be divided with its limit.
    ///
    /// # Errors
    ///
    /// [`Error::FileLimit`] with both numbers.
    pub(crate) fn check_file(&self, what: impl FnOnce() -> String, needed: u64) -> Result<()> {
        match needed <= self.file_bytes {
            true => Ok(()),
            false => Err(Error::FileLimit { what: what(), needed, limit: self.file_bytes }),
        }
    }

    /// Whether a file is within the limits of one.
    pub(crate) fn allow_file(&self, tensors: usize, header_bytes: u64, bytes: u64) -> bool {
        tensors as u64 <= self.tensors && header_bytes <= self.header_bytes && bytes <= self.file_bytes
    }

    /// Compares the length of the metadata with its limit.
    pub(crate) fn check_metadata(&self, bytes: u64) -> Result<()> {
        within(|| "the checkpoint's metadata".to_owned(), "bytes", bytes, self.metadata_bytes, SHORTER)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::READER
    }
}

/// What to do about a tensor that is too large.
const SMALLER: &str = "train a smaller model, or save a smaller type";
/// About too many tensors.
const FEWER: &str =
    "train a smaller model, or, if only the optimizer's state makes it too large, set save_weights_only";
/// About what is written beside the tensors: their names and shapes, and what a program adds.
const SHORTER: &str = "shorten the hyperparameters, the configuration and the program's own state, or, if the tensors are too many, \
                       train a smaller model or set save_weights_only";

/// Fails if more is found than is allowed, with what to do.
///
/// # Errors
///
/// [`Error::TooLarge`] with both numbers.
pub(crate) fn within(
    what: impl FnOnce() -> String,
    unit: &'static str,
    found: u64,
    limit: u64,
    advice: &'static str,
) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: what(), unit, found, limit, advice })
}
