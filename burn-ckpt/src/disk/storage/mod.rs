//! The storage seam: every operation on a file or directory that this crate and burn-trainer do.
//!
//! | file | has |
//! |---|---|
//! | `names` | what is done to names: stat, lists, directories, links, renames, removals |
//! | `stored_file` | what is done to an open file: reads, writes, syncs, locks |
//! | `capacity` | how much may be written |
//! | `observer` | the place where a test sees each operation, and lets it fail |
//!
//! An operation that asks whether something is there tells three answers apart: there, not there, and an
//! error. An error is never taken for "not there": one failed answer of a network file system must not delete
//! a file.
//!
//! All errors are the system's own. The callers add what was tried on which file.

mod capacity;
mod names;
pub mod observer;
mod stored_file;

pub use capacity::{file_size_limit, free_space};
pub use names::{
    canonicalize, create_directory, entry, hard_link, has_no_hard_links, has_no_symlinks, list, read_link,
    remove_directory, remove_file, rename, rename_new, stat, symlink, sync_directory,
};
pub use stored_file::{ExistingContent, StoredFile};

/// The error for a path at which there is nothing, in the system's words.
#[must_use]
pub fn not_found() -> std::io::Error {
    // The same number on all systems: ENOENT, ERROR_FILE_NOT_FOUND.
    std::io::Error::from_raw_os_error(2)
}
