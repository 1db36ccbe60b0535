//! How much may be written: the space that is free, and the limit of a file's size.

use std::io;
use std::path::Path;

use super::observer::{Operation, carry_out};

/// The bytes that this user can still write to the file system of a path. `None` where the system does not
/// say it.
///
/// # Errors
///
/// The system's, also where there is nothing at the path.
pub fn free_space(path: &Path) -> io::Result<Option<u64>> {
    carry_out(Operation::Stat(path), || {
        #[cfg(unix)]
        {
            Ok(crate::disk::preallocate::free_bytes(&rustix::fs::statvfs(path)?))
        }
        #[cfg(not(unix))]
        {
            Ok(None)
        }
    })
}

/// The bytes of the largest file that this process may write (`ulimit -f`). `None` if it has no such limit.
#[must_use]
pub fn file_size_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        rustix::process::getrlimit(rustix::process::Resource::Fsize).current
    }
    #[cfg(not(unix))]
    {
        None
    }
}
