//! The file that a finder's flag names: it replaces one of an earlier search, and no other.

use std::path::Path;

use burn_ckpt::plumbing::file_identity;
use burn_ckpt::plumbing::storage::{self, StoredFile};

use super::output_file::check_output_file;
use crate::error::{Error, Result};

/// What a file of a search contains near its beginning: the columns of a table, and the title of a picture.
const MARKS: [&str; 3] = [
    "learning_rate,loss,smoothed_loss\n",
    "batch_size,fit,seconds,items_per_second,memory_bytes\n",
    "<title>Loss over learning rate</title>",
];
/// Bytes that are read.
const BEGINNING: usize = 512;

/// Checks, before a search of minutes, that its file can be written, and takes the place of no other file.
///
/// # Errors
///
/// [`Error::Config`] naming the flag, [`Error::Checkpoint`] when the file cannot be read.
pub(super) fn check(flag: &str, file: &Path) -> Result<()> {
    check_output_file(flag, file)?;
    let failed = || burn_ckpt::Error::io("read", file);
    let Some(stat) = storage::stat(file).map_err(failed())? else { return Ok(()) };
    let place = file.display();
    if !stat.is_file() {
        return Err(Error::config(flag, format!("{place} is not a file: name another one")));
    }
    let beginning = StoredFile::open(file).and_then(|file| file.read_range(0, BEGINNING)).map_err(failed())?;
    let text = String::from_utf8_lossy(&beginning);
    if stat.len() == 0 || MARKS.iter().any(|mark| text.contains(mark)) {
        return Ok(());
    }
    let reason = format!("{place} is there, and no search has written it: name another file, or remove it");
    Err(Error::config(flag, reason))
}

/// Whether two paths are of one file, which need not be there.
///
/// # Errors
///
/// [`Error::Checkpoint`] when a directory cannot be read.
pub(super) fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let directory = |file: &Path| {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        file_identity(parent.unwrap_or(Path::new(".")))
    };
    let there = file_identity(one)?;
    if there.is_some() && there == file_identity(other)? {
        return Ok(true);
    }
    let parent = directory(one)?;
    Ok(one == other
        || one.file_name() == other.file_name() && parent.is_some() && parent == directory(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_earlier_search_is_replaced_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("curve.svg");
        assert!(check("--find-lr", &file).is_ok(), "there is none");
        for (content, is_ours) in [
            (String::new(), true),
            (format!("{}1,2,3\n", MARKS[0]), true),
            (MARKS[1].to_owned(), true),
            (format!("<svg xmlns=\"x\">\n{}", MARKS[2]), true),
            ("<svg>a drawing</svg>".to_owned(), false),
            ("learning_rate,loss\n".to_owned(), false),
            (format!("{}{}", "x".repeat(BEGINNING), MARKS[0]), false),
        ] {
            storage_of_test(&file, &content);
            match check("--find-lr", &file) {
                Ok(()) => assert!(is_ours, "{content}"),
                Err(Error::Config { setting, reason }) => {
                    assert!(!is_ours && setting == "--find-lr" && reason.contains("curve.svg"), "{reason}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        let below_a_file = check("--find-lr", &file.join("curve.svg")).unwrap_err().to_string();
        assert!(below_a_file.contains("cannot be written"), "{below_a_file}");
        let reason = check("--find-lr", directory.path()).unwrap_err().to_string();
        assert!(reason.contains("is a directory"), "{reason}");
        let reason = check("--find-lr", Path::new("s3://hunter2@b/curve.svg")).unwrap_err().to_string();
        assert!(reason.contains("it is an address") && !reason.contains("hunter2"), "{reason}");
    }

    #[allow(clippy::disallowed_methods, reason = "a user's file")]
    fn storage_of_test(file: &Path, content: &str) {
        std::fs::write(file, content).unwrap();
    }
}
