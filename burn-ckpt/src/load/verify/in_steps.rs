//! Verifying a checkpoint by the digests in it, in steps: a loop that saves often interrupts each of them.
//!
//! The SHA-256 of the file is not computed: there is none to compare it with. Headers, tensors and what is
//! between them are all bytes of the files.

use std::path::Path;

use crate::error::{Cause, Error, Result};
use crate::format::metadata::Metadata;
use crate::load::checkpoint::Checkpoint;
use crate::text::printable::shown;

/// A checkpoint of which a part is verified.
#[derive(Debug)]
pub(crate) struct VerificationInSteps {
    checkpoint: Checkpoint,
    metadata: Metadata,
    /// The place of the tensor that comes next, or of which the first bytes are read.
    tensor: usize,
    /// How many of its bytes are read.
    position: usize,
    hasher: blake3::Hasher,
}

impl VerificationInSteps {
    /// Opens the checkpoint, and compares its sizes and headers with its metadata. Reads no tensor.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`].
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let (metadata, own) = match checkpoint.has_own_metadata() {
            true => checkpoint.own_metadata().map(|(metadata, own)| (metadata, Some(own)))?,
            false => (checkpoint.metadata()?, None),
        };
        checkpoint.check_structure(&metadata, own.as_ref())?;
        Ok(Self { checkpoint, metadata, tensor: 0, position: 0, hasher: blake3::Hasher::new() })
    }

    /// Reads on, until all is verified or until `is_stopped`. Returns whether all is verified.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] for a tensor with other bytes than were written, [`Error::Load`] for one that
    /// cannot be read.
    pub(crate) fn advance(&mut self, is_stopped: &dyn Fn() -> bool) -> Result<bool> {
        let Self { checkpoint, metadata, tensor: index, position, hasher } = self;
        while let Some(tensor) = checkpoint.header.tensors().get(*index) {
            if is_stopped() {
                return Ok(false);
            }
            let read = tensor.hash_piece(*position, hasher).map_err(|error| Error::Load {
                path: tensor.file.path().to_path_buf(),
                reason: format!("the tensor {} cannot be read", shown(&tensor.name)),
                source: Some(Box::new(error) as Cause),
            })?;
            if read > 0 {
                *position += read;
                continue;
            }
            let found = hasher.finalize().to_hex().to_string();
            let expected = metadata.tensors.get(&tensor.name).map_or("", |info| info.blake3.as_str());
            if found != expected {
                let expected = format!("blake3:{} for {}", shown(expected), shown(&tensor.name));
                return Err(Error::checksum(tensor.file.path(), expected, format!("blake3:{found}")));
            }
            hasher.reset();
            (*index, *position) = (*index + 1, 0);
        }
        Ok(true)
    }
}
