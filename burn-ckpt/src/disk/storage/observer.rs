//! Where a test sees each file operation before it is done, and decides what becomes of it.
//!
//! Without an observer an operation costs one load of an atomic flag more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

/// One operation, before and after it is done. Paths are as the program gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// Asks what is at a path.
    Stat(&'a Path),
    /// Lists a directory.
    List(&'a Path),
    /// Reads a link, or resolves all links of a path.
    Resolve(&'a Path),
    /// Opens an existing file.
    Open(&'a Path, FileId),
    /// Reads from an open file.
    Read(&'a Path, FileId),
    /// Creates a directory.
    CreateDirectory(&'a Path),
    /// Creates a file that did not exist.
    CreateFile(&'a Path, FileId),
    /// Reserves this many bytes for an open file, which has this length then.
    Reserve(&'a Path, FileId, u64),
    /// Writes bytes at a position of an open file.
    Write {
        /// The path by which the file was opened.
        path: &'a Path,
        /// The open file.
        file: FileId,
        /// Where in the file.
        offset: u64,
        /// What is written there.
        bytes: &'a [u8],
    },
    /// Sets the length of an open file.
    SetLength(&'a Path, FileId, u64),
    /// Sets the permissions of an open file.
    SetPermissions(&'a Path, FileId),
    /// Sets when an open file was last written.
    SetTimes(&'a Path, FileId),
    /// Copies a file's whole content to an open file, which is new.
    CopyContent {
        /// The file that is copied.
        from: &'a Path,
        /// The path by which the new file was created.
        path: &'a Path,
        /// The new file.
        file: FileId,
    },
    /// Makes an open file's data durable, and its length.
    Sync(&'a Path, FileId),
    /// Makes the names in a directory durable.
    SyncDirectory(&'a Path),
    /// Locks an open file.
    Lock(&'a Path, FileId),
    /// Gives a file a second name.
    HardLink {
        /// The file's first name.
        from: &'a Path,
        /// The new name.
        path: &'a Path,
    },
    /// Makes a symbolic link.
    Symlink {
        /// What the link says.
        target: &'a Path,
        /// The link.
        path: &'a Path,
    },
    /// Renames a file.
    Rename {
        /// The name before.
        from: &'a Path,
        /// The name after.
        path: &'a Path,
        /// Whether a file of the new name is replaced.
        replaces: bool,
    },
    /// Removes a file's name.
    RemoveFile(&'a Path),
    /// Removes an empty directory.
    RemoveDirectory(&'a Path),
}

/// An open file: each opening has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId(u64);

impl FileId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl<'a> Operation<'a> {
    /// The path that the operation is about: for one with two names, the new one.
    #[must_use]
    pub fn path(&self) -> &'a Path {
        match *self {
            Self::Stat(path)
            | Self::List(path)
            | Self::Resolve(path)
            | Self::Open(path, _)
            | Self::Read(path, _)
            | Self::CreateDirectory(path)
            | Self::CreateFile(path, _)
            | Self::Reserve(path, ..)
            | Self::Write { path, .. }
            | Self::SetLength(path, ..)
            | Self::SetPermissions(path, _)
            | Self::SetTimes(path, _)
            | Self::CopyContent { path, .. }
            | Self::Sync(path, _)
            | Self::SyncDirectory(path)
            | Self::Lock(path, _)
            | Self::HardLink { path, .. }
            | Self::Symlink { path, .. }
            | Self::Rename { path, .. }
            | Self::RemoveFile(path)
            | Self::RemoveDirectory(path) => path,
        }
    }

    /// The operation's name, for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stat(_) => "stat",
            Self::List(_) => "list",
            Self::Resolve(_) => "resolve",
            Self::Open(..) => "open",
            Self::Read(..) => "read",
            Self::CreateDirectory(_) => "create directory",
            Self::CreateFile(..) => "create file",
            Self::Reserve(..) => "reserve",
            Self::Write { .. } => "write",
            Self::SetLength(..) => "set length",
            Self::SetPermissions(..) => "set permissions",
            Self::SetTimes(..) => "set times",
            Self::CopyContent { .. } => "copy",
            Self::Sync(..) => "sync",
            Self::SyncDirectory(_) => "sync directory",
            Self::Lock(..) => "lock",
            Self::HardLink { .. } => "hard link",
            Self::Symlink { .. } => "symlink",
            Self::Rename { .. } => "rename",
            Self::RemoveFile(_) => "remove file",
            Self::RemoveDirectory(_) => "remove directory",
        }
    }

    /// Whether the operation changes what is on disk, or what of it is durable.
    #[must_use]
    pub fn changes_the_disk(&self) -> bool {
        !matches!(
            self,
            Self::Stat(_)
                | Self::List(_)
                | Self::Resolve(_)
                | Self::Open(..)
                | Self::Read(..)
                | Self::Lock(..)
        )
    }
}

/// What becomes of an operation.
#[derive(Debug)]
pub enum Verdict {
    /// It is done.
    Proceed,
    /// It is not done, and fails.
    Fail(io::Error),
    /// It is done, and fails nevertheless: the answer was lost.
    ProceedAndFail(io::Error),
    /// A write of which this many bytes are written, and that fails. Any other operation is not done.
    Part(usize, io::Error),
    /// A write of which this many bytes are written, one at least: it says so, and does not fail. Any other
    /// operation is done.
    Short(usize),
}

/// Sees the operations below a directory.
pub trait Observer: Send + Sync {
    /// Decides about an operation.
    fn before(&self, operation: &Operation<'_>) -> Verdict;

    /// Sees an operation that was done. A write that failed in the middle is seen with the part that was
    /// written.
    fn after(&self, operation: &Operation<'_>) {
        let _ = operation;
    }
}

/// Ends the observation when it is dropped.
#[must_use = "the observation ends when this is dropped"]
pub struct Observation(u64);

struct Observed {
    id: u64,
    directory: PathBuf,
    observer: Arc<dyn Observer>,
}

static IS_OBSERVED: AtomicBool = AtomicBool::new(false);
static OBSERVED: RwLock<Vec<Observed>> = RwLock::new(Vec::new());

/// Shows every operation of this process on a path below a directory to an observer, on the thread of the
/// operation.
pub fn observe(directory: &Path, observer: Arc<dyn Observer>) -> Observation {
    let FileId(id) = FileId::next();
    OBSERVED.write().push(Observed { id, directory: directory.to_path_buf(), observer });
    IS_OBSERVED.store(true, Ordering::Release);
    Observation(id)
}

impl Drop for Observation {
    fn drop(&mut self) {
        let mut observed = OBSERVED.write();
        observed.retain(|observed| observed.id != self.0);
        IS_OBSERVED.store(!observed.is_empty(), Ordering::Release);
    }
}

pub(super) fn observer_of(path: &Path) -> Option<Arc<dyn Observer>> {
    if !IS_OBSERVED.load(Ordering::Acquire) {
        return None;
    }
    let observed = OBSERVED.read();
    observed
        .iter()
        .find(|observed| path.starts_with(&observed.directory))
        .map(|observed| Arc::clone(&observed.observer))
}

/// Does an operation, unless an observer lets it fail.
pub(super) fn carry_out<T>(operation: Operation<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(observer) = observer_of(operation.path()) else { return act() };
    let failure = match observer.before(&operation) {
        Verdict::Proceed | Verdict::Short(_) => None,
        Verdict::ProceedAndFail(error) => Some(error),
        Verdict::Fail(error) | Verdict::Part(_, error) => return Err(error),
    };
    let done = act()?;
    observer.after(&operation);
    failure.map_or(Ok(done), Err)
}
