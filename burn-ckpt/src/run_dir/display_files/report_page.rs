//! The page about a run in its own directory, `report.html`, which burn-trainer writes while the run trains.
//! Also without the feature `report`, by which pages are written: the run's files are removed with it.

use std::path::Path;

use crate::disk::directories::{entry, remove_if_there};
use crate::disk::storage::StoredFile;
use crate::error::{Error, Result};

/// The page's name in the run's directory.
pub const REPORT_FILE: &str = "report.html";
/// What a page says at its beginning that it was written by.
const GENERATOR: &str = "<meta name=\"generator\" content=\"burn-ckpt report\">";
/// How many bytes of a file are looked at for that.
const HEAD_BYTES: usize = 1024;

/// Whether a file is a page of burn-ckpt's: a regular file, and not a link, that says so at its beginning.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be read.
pub fn is_report_page(path: &Path) -> Result<bool> {
    if !entry(path)?.is_some_and(|entry| entry.is_file()) {
        return Ok(false);
    }
    let file = StoredFile::open(path).map_err(Error::io("open", path))?;
    let head = file.read_range(0, HEAD_BYTES).map_err(Error::io("read", path))?;
    Ok(String::from_utf8_lossy(&head).contains(GENERATOR))
}

/// Removes the page of an earlier run. Anything else of that name stays.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be read or removed.
pub fn remove_report_page(run_dir: &Path) -> Result<()> {
    let page = run_dir.join(REPORT_FILE);
    if is_report_page(&page)? {
        remove_if_there(&page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::tempdir;

    #[test]
    fn only_a_page_is_removed() {
        let root = tempdir().unwrap();
        let page = root.path().join(REPORT_FILE);
        let of_ours = format!("<!doctype html>\n{GENERATOR}\n");
        for (there, is_removed) in [(&*of_ours, true), ("<!doctype html>", false), ("", false)] {
            fs::write(&page, there).unwrap();
            assert_eq!(is_report_page(&page).unwrap(), is_removed, "{there:?}");
            remove_report_page(root.path()).unwrap();
            assert_eq!(page.exists(), !is_removed, "{there:?}");
        }
        fs::remove_file(&page).unwrap();
        fs::create_dir(&page).unwrap();
        remove_report_page(root.path()).unwrap();
        assert!(page.is_dir());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_page_is_not_the_runs() {
        let root = tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere.html");
        fs::write(&elsewhere, GENERATOR).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.path().join(REPORT_FILE)).unwrap();
        remove_report_page(root.path()).unwrap();
        assert!(elsewhere.is_file() && root.path().join(REPORT_FILE).is_symlink());
    }
}
