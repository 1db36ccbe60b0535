//! The files of metrics in an epoch: how they are named and created.

use std::io;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::create_directory;
use burn_ckpt::plumbing::storage::StoredFile;

use crate::run_files::line_file::LineFile;
use crate::run_files::regular_file;

/// What a directory's name begins with, before burn's number of the epoch.
pub(super) const EPOCH_PREFIX: &str = "epoch-";
/// Ending of a metric's file.
pub(super) const METRIC_SUFFIX: &str = ".log";
/// The file with the values of each validation of an epoch, a line of JSON each. No metric's file has this
/// ending.
pub(super) const VALIDATIONS: &str = "validations.jsonl";

/// A metric's file in an epoch.
pub(super) struct MetricFile {
    pub(super) epoch: usize,
    pub(super) lines: LineFile,
}

impl MetricFile {
    /// A file that is created, or emptied, with its first lines.
    pub(super) fn new(path: PathBuf, epoch: usize) -> Self {
        Self { epoch, lines: LineFile::new(path, Box::new(|path| Ok((create(path)?, 0)))) }
    }
}

/// Creates `{run}/{split}/epoch-{n}/{name}.log`. A link in the place of a directory is an error: the user's
/// own files can be behind it.
fn create(path: &Path) -> io::Result<StoredFile> {
    let [epoch, split, run] = [1, 2, 3].map(|above| path.ancestors().nth(above).unwrap_or(Path::new("")));
    create_directory(run).map_err(io::Error::other)?;
    regular_file::create_directory(split)?;
    regular_file::create_directory(epoch)?;
    regular_file::create(path)
}
