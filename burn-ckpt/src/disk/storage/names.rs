//! Operations on names: what is there, directories, links, renames, removals.

// The one place with the system's own operations.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::observer::{Operation, carry_out};

/// What is at a path, of a link what it leads to. `None` if there is nothing, or a link to nothing.
///
/// # Errors
///
/// Whatever the system answers but "not there".
pub fn stat(path: &Path) -> io::Result<Option<Metadata>> {
    carry_out(Operation::Stat(path), || if_there(fs::metadata(path)))
}

/// What is at a path, of a link the link itself. `None` if there is nothing.
///
/// # Errors
///
/// As for [`stat`].
pub fn entry(path: &Path) -> io::Result<Option<Metadata>> {
    carry_out(Operation::Stat(path), || if_there(fs::symlink_metadata(path)))
}

/// The paths in a directory, sorted. `None` if there is no such directory.
///
/// # Errors
///
/// As for [`stat`], and for each entry: a list is complete.
pub fn list(directory: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    carry_out(Operation::List(directory), || {
        let Some(entries) = if_there(fs::read_dir(directory))? else { return Ok(None) };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(Some(paths))
    })
}

/// What a symbolic link says. `None` if there is nothing at the path, or something else.
///
/// # Errors
///
/// As for [`stat`].
pub fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    carry_out(Operation::Resolve(path), || match fs::read_link(path) {
        // What Linux, and Windows, answer for a file that is not a link.
        Err(error) if error.kind() == ErrorKind::InvalidInput || error.raw_os_error() == Some(4390) => {
            Ok(None)
        }
        answer => if_there(answer),
    })
}

/// The absolute path without links and dots. `None` if there is nothing.
///
/// # Errors
///
/// As for [`stat`].
pub fn canonicalize(path: &Path) -> io::Result<Option<PathBuf>> {
    carry_out(Operation::Resolve(path), || if_there(fs::canonicalize(path)))
}

/// Creates one directory.
///
/// # Errors
///
/// The system's, also where there is something of that name.
pub fn create_directory(path: &Path) -> io::Result<()> {
    carry_out(Operation::CreateDirectory(path), || fs::create_dir(path))
}

/// Removes a file's name, or a link. Whether there was one.
///
/// # Errors
///
/// As for [`stat`].
pub fn remove_file(path: &Path) -> io::Result<bool> {
    carry_out(Operation::RemoveFile(path), || Ok(if_there(fs::remove_file(path))?.is_some()))
}

/// Removes an empty directory. Whether there was one.
///
/// # Errors
///
/// As for [`stat`], and [`ErrorKind::DirectoryNotEmpty`].
pub fn remove_directory(path: &Path) -> io::Result<bool> {
    carry_out(Operation::RemoveDirectory(path), || Ok(if_there(fs::remove_dir(path))?.is_some()))
}

/// Gives a file another name, under which there may be a file, which is replaced. A reader sees one or the
/// other.
///
/// # Errors
///
/// The system's.
pub fn rename(from: &Path, path: &Path) -> io::Result<()> {
    carry_out(Operation::Rename { from, path, replaces: true }, || fs::rename(from, path))
}

/// Gives a file another name, unless there is something of that name.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`], and the system's.
pub fn rename_new(from: &Path, path: &Path) -> io::Result<()> {
    carry_out(Operation::Rename { from, path, replaces: false }, || {
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            use rustix::io::Errno;
            match renameat_with(CWD, from, CWD, path, RenameFlags::NOREPLACE) {
                // The file system cannot do both at once.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                answer => return Ok(answer?),
            }
        }
        // The last resort: between the two steps another run could create a file of that name.
        if if_there(fs::symlink_metadata(path))?.is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        fs::rename(from, path)
    })
}

/// Gives a file a second name, under which there must be nothing.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`], and the system's. [`has_no_hard_links`] tells those of a file system without
/// hard links.
pub fn hard_link(from: &Path, path: &Path) -> io::Result<()> {
    carry_out(Operation::HardLink { from, path }, || fs::hard_link(from, path))
}

/// Makes a symbolic link, at a path where there must be nothing.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`], and the system's. [`has_no_symlinks`] tells those of a file system without
/// symbolic links.
pub fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    carry_out(Operation::Symlink { target, path }, || {
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(target, path)
        }
        #[cfg(windows)]
        {
            std::os::windows::fs::symlink_file(target, path)
        }
        #[cfg(not(any(unix, windows)))]
        {
            Err(ErrorKind::Unsupported.into())
        }
    })
}

/// Whether an error of [`hard_link`] says that this file cannot have a second name here: the file system has
/// no hard links (Linux answers with EPERM), or the file has all that it may have.
#[must_use]
pub fn has_no_hard_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::TooManyLinks
            | ErrorKind::CrossesDevices
    )
}

/// Whether an error of [`symlink`] says that there are no symbolic links here (Windows: or that this user may
/// make none).
#[must_use]
pub fn has_no_symlinks(error: &io::Error) -> bool {
    const ERROR_PRIVILEGE_NOT_HELD: i32 = 1314;
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied)
        || (cfg!(windows) && error.raw_os_error() == Some(ERROR_PRIVILEGE_NOT_HELD))
}

/// Makes the names in a directory durable. Returns whether the file system can do that.
///
/// # Errors
///
/// The system's, but for those by which a file system says that it cannot sync a directory.
pub fn sync_directory(directory: &Path) -> io::Result<bool> {
    // Only Unix can sync a directory. Elsewhere a rename is as durable as the system makes it.
    #[cfg(unix)]
    let act = || fs::File::open(directory)?.sync_all();
    #[cfg(not(unix))]
    let act = || Ok(());
    match carry_out(Operation::SyncDirectory(directory), act) {
        Err(error) if cannot_sync(&error) => Ok(false),
        answer => answer.map(|()| cfg!(unix)),
    }
}

/// What CIFS, 9p and some file systems in user space answer: EINVAL, ENOTSUP, ENOSYS.
fn cannot_sync(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

fn if_there<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        // Where a parent is a file there is nothing either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
