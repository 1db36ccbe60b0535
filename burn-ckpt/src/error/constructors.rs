//! Short ways to the errors that many places make.

use std::io;
use std::path::Path;

use crate::error::pack_error::PackError;
use crate::error::{Cause, Error};

impl Error {
    /// Wraps an operating system error with what was tried on which file. For burn-trainer too.
    #[doc(hidden)]
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// The error for a file whose bytes are not those that its metadata describes.
    pub(crate) fn checksum(path: &Path, expected: String, found: String) -> Self {
        Self::Checksum { path: path.to_path_buf(), expected, found }
    }

    /// The error for something that is not a checkpoint, without a cause.
    pub(crate) fn not_a_checkpoint(path: &Path, reason: impl Into<String>) -> Self {
        Self::NotACheckpoint { path: path.to_path_buf(), reason: reason.into(), source: None }
    }

    /// The error for a checkpoint that is damaged, or of which a part is missing.
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>, source: Option<Cause>) -> Self {
        Self::Damaged { path: path.to_path_buf(), reason: reason.into(), source }
    }

    /// The error for a file of metadata, or another file of JSON, that is invalid.
    pub(crate) fn metadata(
        path: &Path,
        reason: impl Into<String>,
        source: Option<serde_json::Error>,
    ) -> Self {
        Self::Metadata { path: path.to_path_buf(), reason: reason.into(), source }
    }

    /// The error for a tensor of a checkpoint that cannot be read.
    pub(crate) fn unreadable_tensor(path: &Path, tensor: &str, source: burn_pack::Error) -> Self {
        let reason = format!("the tensor {tensor} cannot be read");
        Self::Load { path: path.to_path_buf(), reason, source: Some(PackError::boxed(source)) }
    }

    /// The error for a part of a state that cannot be expressed in a file. For burn-trainer.
    #[doc(hidden)]
    pub fn snapshot(
        reason: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Snapshot { reason: reason.into(), source: Some(source.into()) }
    }
}
