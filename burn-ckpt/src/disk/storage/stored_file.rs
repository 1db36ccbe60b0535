//! An open file, with every operation on it.

// The one place with the system's own operations.
#![allow(clippy::disallowed_methods)]

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::observer::{FileId, Operation, Verdict, carry_out, observer_of};
use crate::disk::preallocate;

/// An open regular file. Opening never waits for a pipe's other end, and never opens a device.
#[derive(Debug)]
pub struct StoredFile {
    file: File,
    id: FileId,
    /// By which the file was opened. It can have another name by now.
    path: PathBuf,
    /// Where the next write begins.
    position: u64,
}

/// How often a file is opened and created in turn, which several processes can do at once.
const ATTEMPTS: u32 = 1_000;

/// What happens to the content of a file of the program's own that exists already. To remove it is a step of
/// its own ([`StoredFile::set_length`]), which comes after a look at what was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingContent {
    /// It stays, and writing begins at the start.
    Keep,
    /// It stays, and each write is at the end of the file, also behind what others have written there
    /// meanwhile.
    Append,
}

impl StoredFile {
    /// Creates a file for writing, at a path where there must be nothing, not even a link.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`], and the system's.
    pub fn create_new(path: &Path) -> io::Result<Self> {
        Self::created(path, OpenOptions::new().read(true).write(true))
    }

    fn created(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        let id = FileId::next();
        options.create_new(true);
        let file = carry_out(Operation::CreateFile(path, id), || options.open(path))?;
        Ok(Self { file, id, path: path.to_path_buf(), position: 0 })
    }

    /// Opens a file for reading. A link is followed.
    ///
    /// # Errors
    ///
    /// The system's, and [`ErrorKind::InvalidInput`] for something else than a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::opened(path, &mut options, 0)
    }

    /// Opens a file of the program's own for reading and writing. It is created where it is missing. A link
    /// in its place is an error: what it leads to may be another program's.
    ///
    /// # Errors
    ///
    /// As for [`StoredFile::open`], and for a link.
    pub fn open_own(path: &Path, content: ExistingContent) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).append(content == ExistingContent::Append);
        for _ in 0..ATTEMPTS {
            match Self::opened(path, &mut options, flags::NO_FOLLOW) {
                Ok(file) => {
                    file.check_is_itself()?;
                    return Ok(file);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match Self::created(path, &mut options.clone()) {
                        // Another process was faster.
                        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_not_a_link(path)?,
                        created => return created,
                    }
                }
                Err(error) => {
                    check_not_a_link(path)?;
                    return Err(error);
                }
            }
        }
        let reason = "the file system says both that it is not there and that it is: look at the mount";
        Err(io::Error::new(ErrorKind::AlreadyExists, reason))
    }

    fn opened(path: &Path, options: &mut OpenOptions, flags: i32) -> io::Result<Self> {
        let id = FileId::next();
        let file = carry_out(Operation::Open(path, id), || {
            // A pipe is opened at once with NO_WAIT, but a device may act on being opened: so the path is
            // looked at first.
            let is_usual = |stat: &Metadata| stat.is_file();
            if std::fs::metadata(path).is_ok_and(|stat| !is_usual(&stat)) {
                return Err(not_a_file(path));
            }
            with_flags(options, flags | flags::NO_WAIT);
            let file = options.open(path)?;
            // Something else may have come there meanwhile.
            if is_usual(&file.metadata()?) { Ok(file) } else { Err(not_a_file(path)) }
        })?;
        Ok(Self { file, id, path: path.to_path_buf(), position: 0 })
    }

    /// On systems that follow a link in spite of the flag.
    fn check_is_itself(&self) -> io::Result<()> {
        if cfg!(unix) { Ok(()) } else { check_not_a_link(&self.path) }
    }

    /// By which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for a library that writes to it by itself. What is done with it is not observed.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// What the system knows of the open file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn stat(&self) -> io::Result<Metadata> {
        carry_out(Operation::Stat(&self.path), || self.file.metadata())
    }

    /// Another handle to the same open file.
    ///
    /// # Errors
    ///
    /// The system's: there can be too many.
    pub fn try_clone(&self) -> io::Result<Self> {
        let file = carry_out(Operation::Open(&self.path, self.id), || self.file.try_clone())?;
        Ok(Self { file, id: self.id, path: self.path.clone(), position: self.position })
    }

    /// Reserves the space for a size, which the file then has, if the file system supports it.
    ///
    /// # Errors
    ///
    /// The system's with the size that is needed: usually that there is not enough space.
    pub fn reserve(&self, size: u64) -> io::Result<()> {
        carry_out(Operation::Reserve(&self.path, self.id, size), || preallocate::reserve(&self.file, size))
    }

    /// Sets the file's length.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_length(&mut self, length: u64) -> io::Result<()> {
        carry_out(Operation::SetLength(&self.path, self.id, length), || self.file.set_len(length))
    }

    /// Sets who may read and write the file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        carry_out(Operation::SetPermissions(&self.path, self.id), || self.file.set_permissions(permissions))
    }

    /// Sets when the file was last written.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        carry_out(Operation::SetTimes(&self.path, self.id), || self.file.set_modified(time))
    }

    /// Copies the whole content of a file to this one, which is new, up to the size that it has now. Returns
    /// how many bytes there were. Shares the blocks where the file system can (`copy_file_range`).
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn copy_from(&mut self, from: &mut Self) -> io::Result<u64> {
        let operation = Operation::CopyContent { from: &from.path, path: &self.path, file: self.id };
        carry_out(operation, || {
            let size = from.file.metadata()?.len();
            io::copy(&mut Read::by_ref(&mut from.file).take(size), &mut self.file)
        })
    }

    /// Makes data and length durable.
    ///
    /// # Errors
    ///
    /// The system's. It reports a failed write to the disk once, to the first sync after it.
    pub fn sync(&self) -> io::Result<()> {
        carry_out(Operation::Sync(&self.path, self.id), || self.file.sync_all())
    }

    /// The same without the times of the file.
    ///
    /// # Errors
    ///
    /// As for [`StoredFile::sync`].
    pub fn sync_data(&self) -> io::Result<()> {
        carry_out(Operation::Sync(&self.path, self.id), || self.file.sync_data())
    }

    /// Locks the file for this process, unless another has locked it. Whether it is locked now.
    ///
    /// # Errors
    ///
    /// The system's: there can be file systems without locks.
    pub fn try_lock(&self) -> io::Result<bool> {
        carry_out(Operation::Lock(&self.path, self.id), || match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Locks the file together with others that do the same, unless another process has locked it for itself.
    /// Whether it is locked now.
    ///
    /// # Errors
    ///
    /// As for [`StoredFile::try_lock`].
    pub fn try_lock_shared(&self) -> io::Result<bool> {
        carry_out(Operation::Lock(&self.path, self.id), || match self.file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// Reads bytes at a position, as many as there are up to the buffer's size. Does not move where the next
    /// write begins.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        carry_out(Operation::Read(&self.path, self.id), || {
            #[cfg(unix)]
            {
                std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
            }
            #[cfg(windows)]
            {
                std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
            }
            #[cfg(not(any(unix, windows)))]
            {
                let mut file = &self.file;
                file.seek(SeekFrom::Start(offset))?;
                file.read(buffer)
            }
        })
    }

    /// Reads up to `length` bytes from a position on: fewer where the file ends before.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn read_range(&self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            match self.read_at(&mut bytes[done..], start + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = carry_out(Operation::Read(&self.path, self.id), || self.file.read(buffer))?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Write for StoredFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(observer) = observer_of(&self.path) else {
            let written = self.file.write(bytes)?;
            self.position += written as u64;
            return Ok(written);
        };
        let operation =
            |bytes| Operation::Write { path: &self.path, file: self.id, offset: self.position, bytes };
        let (length, failure) = match observer.before(&operation(bytes)) {
            Verdict::Proceed => (bytes.len(), None),
            Verdict::Fail(error) => return Err(error),
            Verdict::ProceedAndFail(error) => (bytes.len(), Some(error)),
            Verdict::Part(length, error) => (length.min(bytes.len()), Some(error)),
            Verdict::Short(length) => (length.max(1).min(bytes.len()), None),
        };
        let mut file = &self.file;
        file.write_all(&bytes[..length])?;
        observer.after(&operation(&bytes[..length]));
        self.position += length as u64;
        failure.map_or(Ok(length), Err)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back.
        Ok(())
    }
}

impl Seek for StoredFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(unix)]
mod flags {
    use rustix::fs::OFlags;

    /// Opening a pipe does not wait for its other end.
    pub(super) const NO_WAIT: i32 = OFlags::NONBLOCK.bits() as i32;
    /// A link is not opened.
    pub(super) const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;
}

#[cfg(not(unix))]
mod flags {
    pub(super) const NO_WAIT: i32 = 0;
    pub(super) const NO_FOLLOW: i32 = 0;
}

#[cfg(unix)]
fn with_flags(options: &mut OpenOptions, flags: i32) {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(flags);
}

#[cfg(not(unix))]
fn with_flags(_options: &mut OpenOptions, _flags: i32) {}

fn not_a_file(path: &Path) -> io::Error {
    let what = match std::fs::metadata(path).is_ok_and(|stat| stat.is_dir()) {
        true => "it is a directory",
        false => "it is not a regular file",
    };
    io::Error::new(ErrorKind::InvalidInput, what)
}

/// Fails for a link, which is not followed to a file of the program's own.
fn check_not_a_link(path: &Path) -> io::Result<()> {
    match super::entry(path)? {
        Some(entry) if entry.is_symlink() => {
            Err(io::Error::new(ErrorKind::InvalidInput, "it is a link, which is not followed: remove it"))
        }
        _ => Ok(()),
    }
}
