//! Verifying: whether a checkpoint's bytes are those that were written.

use std::path::Path;

use crate::container::ContainerHeader;
use crate::digest::{blake3_of_tensor, sha256_of_file};
use crate::error::{Error, Result};
use crate::load::Checkpoint;
use crate::metadata::Metadata;

impl Checkpoint {
    /// Reads the whole file and compares size and SHA-256 with the metadata.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`].
    pub fn verify_checksum(&self) -> Result<Metadata> {
        verify_file(&self.path)
    }

    /// Reads the whole file and compares size, SHA-256 and every tensor's BLAKE3 with the metadata.
    ///
    /// A checkpoint without metadata does not pass: without a digest nothing is verified.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] naming what disagrees; [`Error::Io`] or [`Error::Metadata`] when there is nothing to
    /// compare with.
    pub fn verify(&self) -> Result<Metadata> {
        let metadata = verify_file(&self.path)?;
        let mismatch =
            |expected: String, found: String| Error::Checksum { path: self.path.clone(), expected, found };
        let tensors = ContainerHeader::read(&self.path)?.into_tensors(&self.path)?;
        if tensors.len() != metadata.tensors.len() {
            let (expected, found) = (metadata.tensors.len(), tensors.len());
            return Err(mismatch(format!("{expected} tensors"), format!("{found} tensors")));
        }
        for tensor in tensors {
            let Some(info) = metadata.tensors.get(&tensor.name) else {
                return Err(mismatch("other tensors".to_owned(), format!("a tensor {}", tensor.name)));
            };
            let name = tensor.name.clone();
            let bytes = tensor.into_bytes().map_err(Error::container(&self.path))?;
            let found = blake3_of_tensor(&bytes);
            if found != info.blake3 {
                return Err(mismatch(
                    format!("blake3:{} for {name}", info.blake3),
                    format!("blake3:{found}"),
                ));
            }
        }
        Ok(metadata)
    }
}

/// Compares a file's size and SHA-256 with its metadata, and returns the metadata.
pub(crate) fn verify_file(path: &Path) -> Result<Metadata> {
    let metadata = Metadata::of_checkpoint(path)?;
    check_size(path, &metadata)?;
    let found = sha256_of_file(path)?;
    if found != metadata.checkpoint_checksum {
        let expected = metadata.checkpoint_checksum;
        return Err(Error::Checksum { path: path.to_path_buf(), expected, found });
    }
    Ok(metadata)
}

/// Compares a file's size with its metadata: the quick half of a verification.
pub(crate) fn check_size(path: &Path, metadata: &Metadata) -> Result<()> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size != metadata.checkpoint_size_bytes {
        let expected = format!("{} bytes", metadata.checkpoint_size_bytes);
        return Err(Error::Checksum { path: path.to_path_buf(), expected, found: format!("{size} bytes") });
    }
    Ok(())
}
