//! A file that a program writes when training is done: whether it can be written is found out before.

use std::io;
use std::path::Path;

use burn_ckpt::plumbing::is_address;
use burn_ckpt::plumbing::storage::{self, ExistingContent, StoredFile};

use crate::error::{Error, Result};

/// Checks that a program can write a file at its end. Call it before training: hours later it would be too
/// late to find out.
///
/// The file may be there, and directories of its path may be missing, as the program creates them
/// (`std::fs::create_dir_all`). What the check creates it removes again.
///
/// # Errors
///
/// [`Error::Config`] naming the flag, for an address, a directory, and a place where this user cannot write.
///
/// # Example
///
/// ```
/// use std::path::Path;
///
/// use burn_trainer::cli;
///
/// assert!(cli::check_output_file("--predictions", Path::new("s3://bucket/p.csv")).is_err());
/// ```
pub fn check_output_file(flag: &str, file: &Path) -> Result<()> {
    if is_address(file) {
        // It can have a credential, and is not repeated.
        return Err(Error::config(flag, "it is an address: give the path of a file on disk"));
    }
    let place = file.display();
    if file.as_os_str().is_empty() {
        return Err(Error::config(flag, "it is empty: give the path of a file"));
    }
    let failed = |error: io::Error| {
        let reason = format!("{place} cannot be written ({error}): name a file in a directory of yours");
        Error::config(flag, reason)
    };
    match storage::stat(file).map_err(failed)? {
        Some(stat) if stat.is_dir() => {
            Err(Error::config(flag, format!("{place} is a directory: name a file in it")))
        }
        Some(stat) if stat.is_file() => try_to_open(file).map_err(failed),
        // A pipe or a terminal.
        Some(_) => Ok(()),
        None => try_to_create(file).map_err(failed),
    }
}

fn try_to_open(file: &Path) -> io::Result<()> {
    let behind_links = storage::canonicalize(file)?.ok_or_else(storage::not_found)?;
    StoredFile::open_own(&behind_links, ExistingContent::Keep).map(drop)
}

/// Creates what is missing of a path first, and removes it.
fn try_to_create(file: &Path) -> io::Result<()> {
    let mut missing = file;
    while let Some(parent) = missing.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        if storage::stat(parent)?.is_some() {
            break;
        }
        missing = parent;
    }
    if missing == file {
        StoredFile::create_new(file)?;
        storage::remove_file(file).map(drop)
    } else {
        storage::create_directory(missing)?;
        storage::remove_directory(missing).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a user's files")]
    fn a_place_that_cannot_be_written_is_an_error_and_the_check_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        std::fs::write(place("there.csv"), "mine").unwrap();
        std::fs::create_dir(place("directory")).unwrap();
        for fine in ["there.csv", "new.csv", "directory/new.csv", "no/such/place.csv"] {
            check_output_file("--predictions", &place(fine)).unwrap();
        }
        for (name, expected) in [
            ("directory", "is a directory: name a file in it"),
            ("there.csv/new.csv", "there.csv/new.csv cannot be written ("),
            ("there.csv/no/place.csv", "there.csv/no/place.csv cannot be written ("),
        ] {
            match check_output_file("--predictions", &place(name)) {
                Err(Error::Config { setting, reason }) => {
                    assert!(setting == "--predictions" && reason.contains(expected), "{reason}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        for (address, expected) in [("s3://hunter2@b/p.csv", "it is an address"), ("", "it is empty")] {
            let error = check_output_file("--predictions", Path::new(address)).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        let left: Vec<_> =
            std::fs::read_dir(root.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(std::fs::read_to_string(place("there.csv")).unwrap(), "mine");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_takes_no_file_is_an_error() {
        for file in ["/proc/p.csv", "/proc/no/such/place.csv"] {
            let error = check_output_file("--predictions", Path::new(file)).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
    }
}
