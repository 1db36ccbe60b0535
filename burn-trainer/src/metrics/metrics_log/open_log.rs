//! How the log of a run begins: from the start, where the checkpoint ends that the run resumes from, or from
//! that checkpoint's history.
//!
//! A file of that name which is not a log stays as it is, and so does what a link leads to.

use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use burn_ckpt::metrics_log::{LogMark, METRICS_FILE, is_metrics_log};
use burn_ckpt::plumbing::storage::{self, ExistingContent, StoredFile};
use burn_ckpt::{Error, Result};

use super::history_lines::HistoryLines;
use crate::run_files::regular_file;

/// Bytes that one write appends when the log is written again.
const BLOCK: usize = 1 << 16;

/// How a log begins.
pub(super) enum LogStart {
    /// With its first line.
    New,
    /// After the lines that a checkpoint counts.
    Continued(LogMark),
    /// With the lines that the history of a checkpoint gives.
    Again(Arc<HistoryLines>),
}

/// The mark of a checkpoint, if the log at `path` has its lines. Else the reason why that log cannot be
/// continued.
pub(super) fn mark_to_continue_from(
    mark: Option<&LogMark>,
    path: &Path,
) -> std::result::Result<LogMark, String> {
    let Some(mark) = mark else { return Err("is not counted by the checkpoint".to_owned()) };
    match mark.is_in(path) {
        Ok(true) => Ok(mark.clone()),
        Ok(false) => Err(match storage::entry(path) {
            Ok(None) => "is missing".to_owned(),
            _ => "does not have the lines that the checkpoint counts".to_owned(),
        }),
        // An error of the disk does not say that the lines are missing. The log is looked at again when it is
        // opened; what fails then leaves it as it is.
        Err(_) => Ok(mark.clone()),
    }
}

impl LogStart {
    /// Opens the file for what comes after the beginning, whose first line is `head`. Returns how many bytes
    /// it has then.
    pub(super) fn open(&self, path: &Path, head: &str) -> io::Result<(StoredFile, u64)> {
        let (mut file, mut length) = match self {
            Self::Continued(mark) => return Ok((continued(path, mark)?, mark.bytes)),
            Self::New | Self::Again(_) => (created(path)?, 0),
        };
        let mut block = String::new();
        let mut write = |text: &str, is_last: bool| -> io::Result<()> {
            block.push_str(text);
            if is_last || block.len() >= BLOCK {
                file.write_all(block.as_bytes())?;
                length += block.len() as u64;
                block.clear();
            }
            Ok(())
        };
        write(head, false)?;
        if let Self::Again(lines) = self {
            lines.try_for_each(|line| write(line, false))?;
        }
        write("", true)?;
        Ok((file, length))
    }
}

/// Whether there is the log of an earlier run. One that cannot be looked at is told of when it is opened.
pub(super) fn has_earlier_lines(path: &Path) -> bool {
    let Ok(Some(entry)) = storage::entry(path) else { return false };
    let is_log = || is_metrics_log(&StoredFile::open(path)?);
    entry.is_file() && entry.len() > 0 && is_log().unwrap_or(false)
}

/// An empty file, in place of an older log.
fn created(path: &Path) -> io::Result<StoredFile> {
    if storage::entry(path)?.is_some_and(|entry| entry.is_file())
        && !is_metrics_log(&StoredFile::open(path)?)?
    {
        let reason = "there is another file of that name, which stays as it is: move it away";
        return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
    }
    regular_file::create(path)
}

/// The log up to a mark, open at its end.
fn continued(path: &Path, mark: &LogMark) -> io::Result<StoredFile> {
    let mut file = regular_file::continued(path, ExistingContent::Keep)?;
    // Of the file that is open: the name can stand for another one by now.
    if !mark.is_in_file(&file)? {
        return Err(io::Error::new(ErrorKind::InvalidData, "it was changed after the run was started"));
    }
    if file.stat()?.len() != mark.bytes {
        file.set_length(mark.bytes)?;
    }
    file.seek(SeekFrom::Start(mark.bytes))?;
    Ok(file)
}

/// Removes the log of an earlier run. Anything else of that name stays.
///
/// # Errors
///
/// [`Error::Io`] for a log that cannot be read or removed.
pub(crate) fn remove_metrics_log(run_dir: &Path) -> Result<()> {
    let path = run_dir.join(METRICS_FILE);
    let failed = |action| Error::io(action, &path);
    let is_file = storage::entry(&path).map_err(failed("read"))?.is_some_and(|entry| entry.is_file());
    let is_log = || is_metrics_log(&StoredFile::open(&path)?);
    if is_file && is_log().map_err(failed("read"))? {
        storage::remove_file(&path).map_err(failed("remove"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::metrics_log::line_digest;
    use std::fs;
    use tempfile::tempdir;

    const HEAD: &str = "{\"format\":\"burn-ckpt metrics\",\"version\":1}\n";

    #[test]
    fn only_a_log_is_replaced_or_removed() {
        let root = tempdir().unwrap();
        let path = root.path().join(METRICS_FILE);
        for (there, is_replaced) in [(None, true), (Some(HEAD), true), (Some("mine\n"), false)] {
            let _ = fs::remove_file(&path);
            there.iter().for_each(|text| fs::write(&path, text).unwrap());
            let opened = LogStart::New.open(&path, HEAD).map(|(_, length)| length);
            assert_eq!(opened.is_ok(), is_replaced, "{there:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), there.filter(|_| !is_replaced).unwrap_or(HEAD));
            remove_metrics_log(root.path()).unwrap();
            assert_eq!(path.exists(), !is_replaced, "{there:?}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = LogStart::New.open(&path, HEAD).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        remove_metrics_log(root.path()).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn a_log_is_cut_where_it_continues_and_a_copy_with_another_name_keeps_its_lines() {
        let root = tempdir().unwrap();
        let [path, copy] = [METRICS_FILE, "copy.jsonl"].map(|name| root.path().join(name));
        let mark = LogMark::new((HEAD.len() + 4) as u64, line_digest(b"one\n"));
        let text = format!("{HEAD}one\ntwo\nth");
        fs::write(&path, &text).unwrap();
        fs::hard_link(&path, &copy).unwrap();
        assert_eq!(mark_to_continue_from(Some(&mark), &path), Ok(mark.clone()));
        let (mut file, length) = LogStart::Continued(mark.clone()).open(&path, HEAD).unwrap();
        file.write_all(b"2\n").unwrap();
        assert_eq!(length, mark.bytes);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEAD}one\n2\n"));
        assert_eq!(fs::read_to_string(&copy).unwrap(), text);
        fs::remove_file(&path).unwrap();
        assert!(mark_to_continue_from(Some(&mark), &path).is_err_and(|reason| reason.contains("missing")));
    }
}
