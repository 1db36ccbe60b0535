//! Reserving a file's space before it is written, so that a full disk is an error before the first byte.

use std::fs::File;
use std::io;

/// Reserves the space for a file of a size, which the file then has. Does nothing where the file system does
/// not support it.
///
/// # Errors
///
/// The system's error with the size that is needed: usually that there is not enough space.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
        use rustix::io::{Errno, retry_on_intr};
        // Some file systems allocate all they have before they report that it is not enough, and other
        // programs find a full disk meanwhile. So the free space is compared first. A file system that does
        // not count blocks reports 0 of them.
        let is_full = fstatvfs(file)
            .is_ok_and(|system| system.f_blocks > 0 && system.f_bfree.saturating_mul(system.f_frsize) < size);
        if is_full {
            return Err(with_size(Errno::NOSPC.into(), size));
        }
        match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, size)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            answer => answer.map_err(|error| with_size(error.into(), size)),
        }
    }
    #[cfg(windows)]
    {
        file.set_len(size).map_err(|error| with_size(error, size))
    }
    #[cfg(not(any(target_os = "linux", windows)))]
    {
        let _ = (file, size);
        Ok(())
    }
}

#[cfg(any(target_os = "linux", windows))]
fn with_size(source: io::Error, size: u64) -> io::Error {
    io::Error::new(source.kind(), NeedsSpace { size, source })
}

/// A failed reservation of space.
#[cfg(any(target_os = "linux", windows))]
#[derive(Debug, thiserror::Error)]
#[error("it needs {size} bytes")]
struct NeedsSpace {
    size: u64,
    source: io::Error,
}
