//! The files of metrics in an epoch: how they are named and created.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::create_directory;
use burn_ckpt::plumbing::storage::{ExistingContent, StoredFile};

use crate::process::console::note;
use crate::run_files::line_file::LineFile;
use crate::run_files::regular_file;

/// What a directory's name begins with, before burn's number of the epoch.
pub(super) const EPOCH_PREFIX: &str = "epoch-";
/// Ending of a metric's file.
pub(super) const METRIC_SUFFIX: &str = ".log";
/// Bytes that are read at once when lines are counted.
const BLOCK: usize = 1 << 16;

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

    /// A file whose first `lines` stay.
    pub(super) fn after(path: PathBuf, epoch: usize, lines: u64) -> Self {
        let again = Box::new(|path: &Path| Ok((create(path)?, 0)));
        let open = Box::new(move |path: &Path| keep_first(path, lines));
        Self { epoch, lines: LineFile::new(path, open).beginning_again(again) }
    }
}

/// Opens a metric's file after its first lines, and removes what follows them.
fn keep_first(path: &Path, lines: u64) -> io::Result<(StoredFile, u64)> {
    create_directories(path)?;
    let mut file = regular_file::continued(path, ExistingContent::Keep)?;
    if let Some(length) = length_of_first(&mut file, lines)? {
        file.set_length(length)?;
        file.seek(SeekFrom::Start(length))?;
        return Ok((file, length));
    }
    note(&format!(
        "{} begins after the first {lines} lines of its epoch: it does not have them, and the checkpoint has the newest alone",
        path.display()
    ));
    Ok((create(path)?, 0))
}

/// The bytes of a file's first lines. `None` if it has fewer.
fn length_of_first(file: &mut StoredFile, lines: u64) -> io::Result<Option<u64>> {
    let (mut block, mut before, mut missing) = ([0; BLOCK], 0, lines);
    loop {
        let bytes = match file.read(&mut block)? {
            0 => return Ok(None),
            count => block.get(..count).unwrap_or_default(),
        };
        for (place, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            missing -= 1;
            if missing == 0 {
                return Ok(Some(before + place as u64 + 1));
            }
        }
        before += bytes.len() as u64;
    }
}

/// Creates `{run}/{split}/epoch-{n}/{name}.log`.
fn create(path: &Path) -> io::Result<StoredFile> {
    create_directories(path)?;
    regular_file::create(path)
}

/// Creates the directories of a metric's file. A link in the place of one is an error: the user's own files
/// can be behind it.
fn create_directories(path: &Path) -> io::Result<()> {
    let [epoch, split, run] = [1, 2, 3].map(|above| path.ancestors().nth(above).unwrap_or(Path::new("")));
    create_directory(run).map_err(io::Error::other)?;
    regular_file::create_directory(split)?;
    regular_file::create_directory(epoch)
}
