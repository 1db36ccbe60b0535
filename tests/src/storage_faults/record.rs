//! An observer that keeps what every operation did to the disk.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage::observer::{FileId, Observer, Operation, Verdict};
use parking_lot::Mutex;

/// What an operation did, or what a run had promised by then. Paths are relative to the recorded directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new directory.
    CreateDirectory(PathBuf),
    /// A new file.
    CreateFile(PathBuf, FileId),
    /// An existing file was opened.
    Open(PathBuf, FileId),
    /// Bytes at a position.
    Write(FileId, u64, Vec<u8>),
    /// A file has this length now.
    SetLength(FileId, u64),
    /// The data of a file is durable.
    Sync(FileId),
    /// The names in a directory are durable.
    SyncDirectory(PathBuf),
    /// A second name of a file.
    HardLink(PathBuf, PathBuf),
    /// A symbolic link: what it says, and its path.
    Symlink(PathBuf, PathBuf),
    /// From a name to another.
    Rename(PathBuf, PathBuf),
    /// A file's name was removed.
    RemoveFile(PathBuf),
    /// A directory was removed.
    RemoveDirectory(PathBuf),
    /// A run said that a checkpoint is durable.
    Promise(PathBuf),
}

/// Keeps the steps of a run.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    is_kept: fn(&Path) -> bool,
    steps: Mutex<Vec<Step>>,
}

impl Recorder {
    /// Of the operations below a directory on paths (relative to it) that are to be kept.
    #[must_use]
    pub fn new(root: &Path, is_kept: fn(&Path) -> bool) -> Self {
        Self { root: root.to_path_buf(), is_kept, steps: Mutex::default() }
    }

    /// Notes that a checkpoint was said to be durable.
    pub fn promise(&self, checkpoint: &Path) {
        self.steps.lock().push(Step::Promise(self.relative(checkpoint)));
    }

    /// The steps so far.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().clone()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_path_buf()
    }
}

impl Observer for Recorder {
    fn before(&self, _operation: &Operation<'_>) -> Verdict {
        Verdict::Proceed
    }

    fn after(&self, operation: &Operation<'_>) {
        if !(self.is_kept)(&self.relative(operation.path())) {
            return;
        }
        let at = |path: &Path| self.relative(path);
        let step = match *operation {
            Operation::CreateDirectory(path) => Step::CreateDirectory(at(path)),
            Operation::CreateFile(path, file) => Step::CreateFile(at(path), file),
            Operation::Open(path, file) => Step::Open(at(path), file),
            Operation::Write { file, offset, bytes, .. } => Step::Write(file, offset, bytes.to_vec()),
            Operation::CopyContent { from, file, .. } => {
                Step::Write(file, 0, std::fs::read(from).unwrap_or_default())
            }
            Operation::Reserve(_, file, length) | Operation::SetLength(_, file, length) => {
                Step::SetLength(file, length)
            }
            Operation::Sync(_, file) => Step::Sync(file),
            Operation::SyncDirectory(path) => Step::SyncDirectory(at(path)),
            Operation::HardLink { from, path } => Step::HardLink(at(from), at(path)),
            Operation::Symlink { target, path } => Step::Symlink(target.to_path_buf(), at(path)),
            Operation::Rename { from, path, .. } => Step::Rename(at(from), at(path)),
            Operation::RemoveFile(path) => Step::RemoveFile(at(path)),
            Operation::RemoveDirectory(path) => Step::RemoveDirectory(at(path)),
            _ => return,
        };
        self.steps.lock().push(step);
    }
}
