//! What a file system is asked for beyond reading and writing.

use std::fs::File;
use std::io;

/// Reserves the space for a file of that size, so that a full disk is an error before anything is written. The file has
/// that size then. Does nothing where the file system cannot do it.
///
/// # Errors
///
/// What the system answers: most often that there is not enough space.
pub(crate) fn reserve(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
        use rustix::io::{Errno, retry_on_intr};
        // Some file systems give what they have before they say that it is not enough; others would be full that long.
        // One that keeps no account of its blocks says that it has none.
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
fn with_size(error: io::Error, size: u64) -> io::Error {
    io::Error::new(error.kind(), format!("it needs {size} bytes: {error}"))
}
