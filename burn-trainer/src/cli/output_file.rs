//! A file that a program writes when training is done: whether it can be written is found out before.

use std::io::{self, ErrorKind};
use std::path::Path;

use burn_ckpt::plumbing::is_address;
use burn_ckpt::plumbing::storage::{self, ExistingContent, StoredFile};

use crate::error::{Error, Result};

/// Checks that a program can write a file at its end. Call it before training: hours later it would be too
/// late to find out.
///
/// The file may be there, and directories of its path may be missing, as the program creates them
/// (`std::fs::create_dir_all`). What the check creates it removes again. Of several processes of a run, only
/// the one that writes the file has to check it.
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

/// Creates what is missing of a path first, and removes it. Another process can do the same at the same time.
fn try_to_create(file: &Path) -> io::Result<()> {
    if let Some(target) = storage::read_link(file)? {
        let target = file.parent().unwrap_or(Path::new("")).join(target);
        // No program creates directories where a link leads.
        return if has_directory(&target)? { try_to_create(&target) } else { Err(storage::not_found()) };
    }
    let mut missing = file;
    while !has_directory(missing)? {
        missing = missing.parent().unwrap_or(missing);
    }
    let is_file = missing == file;
    let created =
        if is_file { StoredFile::create_new(file).map(drop) } else { storage::create_directory(missing) };
    match created {
        Ok(()) if is_file => storage::remove_file(file).map(drop),
        Ok(()) => storage::remove_directory(missing).map(drop),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether there is a directory for a file.
fn has_directory(file: &Path) -> io::Result<bool> {
    match file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => Ok(storage::stat(parent)?.is_some()),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};

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

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_to_no_file_leads_to_where_one_can_be_created() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link.csv");
        for (target, is_fine) in [("new.csv", true), ("no/such/new.csv", false)] {
            storage::symlink(Path::new(target), &link).unwrap();
            assert_eq!(check_output_file("--predictions", &link).is_ok(), is_fine, "{target}");
            assert!(storage::stat(&link).unwrap().is_none() && storage::remove_file(&link).unwrap());
        }
    }

    /// Another process, which creates a path as soon as it was found to be missing.
    struct Other(PathBuf);

    impl Observer for Other {
        fn before(&self, _: &Operation<'_>) -> Verdict {
            Verdict::Proceed
        }

        #[allow(clippy::disallowed_methods, reason = "another process")]
        fn after(&self, operation: &Operation<'_>) {
            if let Operation::Stat(path) = operation
                && *path == self.0
                && !path.exists()
            {
                let is_file = path.extension().is_some();
                let done = if is_file { std::fs::write(path, "theirs") } else { std::fs::create_dir(path) };
                done.unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    #[test]
    fn what_another_process_has_created_meanwhile_is_fine_and_stays() {
        for (name, created) in [("p.csv", "p.csv"), ("new/p.csv", "new")] {
            let root = tempfile::tempdir().unwrap();
            let created = root.path().join(created);
            let _observation = observe(root.path(), Arc::new(Other(created.clone())));
            check_output_file("--predictions", &root.path().join(name)).unwrap();
            assert!(created.exists(), "{name}");
        }
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
