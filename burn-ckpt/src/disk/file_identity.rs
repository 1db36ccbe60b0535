//! What tells a file from all others, whatever its name.

use std::path::Path;

#[cfg(unix)]
use crate::disk::directories::stat;
use crate::error::Result;

/// Two names of one file have the same.
#[cfg(unix)]
pub type FileIdentity = (u64, u64);
/// Two names of one file have the same, unless they are hard links.
#[cfg(not(unix))]
pub type FileIdentity = std::path::PathBuf;

/// The identity of the file that a path leads to. `None` if there is nothing.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) when that cannot be found out.
pub fn file_identity(path: &Path) -> Result<Option<FileIdentity>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(stat(path)?.map(|stat| (stat.dev(), stat.ino())))
    }
    #[cfg(not(unix))]
    {
        crate::disk::directories::real_path_if_there(path)
    }
}
