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
        // programs find a full disk meanwhile. So the free space is compared first.
        let free = fstatvfs(file).ok().and_then(|system| free_bytes(&system));
        if free.is_some_and(|free| free < size) {
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

/// The bytes that this process can still write to a file system. `None` for one that does not count its
/// blocks: it reports 0 of them.
#[cfg(unix)]
pub(crate) fn free_bytes(system: &rustix::fs::StatVfs) -> Option<u64> {
    free_bytes_for(rustix::process::geteuid().is_root(), system)
}

/// The last blocks of a disk are for root alone.
#[cfg(unix)]
fn free_bytes_for(is_root: bool, system: &rustix::fs::StatVfs) -> Option<u64> {
    let blocks = if is_root { system.f_bfree } else { system.f_bavail };
    (system.f_blocks > 0).then(|| blocks.saturating_mul(system.f_frsize))
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_that_are_kept_for_root_are_free_for_root_alone() {
        let mut system = rustix::fs::statvfs(".").unwrap();
        (system.f_blocks, system.f_bfree, system.f_bavail, system.f_frsize) = (100, 10, 4, 512);
        assert_eq!(free_bytes_for(true, &system), Some(5120));
        assert_eq!(free_bytes_for(false, &system), Some(2048));
        system.f_blocks = 0;
        assert_eq!(free_bytes_for(false, &system), None);
    }
}
