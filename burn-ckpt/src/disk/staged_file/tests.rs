//! Staging names, and names that are given when something fails.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::tempdir;

use super::*;
use crate::ErrorKind;
use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};

/// Fails operations of a kind, the first `count` of them.
struct Failing {
    operation: &'static str,
    left: AtomicU32,
    error: fn() -> io::Error,
}

impl Observer for Failing {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let is_hit = operation.name() == self.operation
            && self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_hit { Verdict::Fail((self.error)()) } else { Verdict::Proceed }
    }
}

fn failing(operation: &'static str, count: u32, error: fn() -> io::Error) -> Arc<Failing> {
    Arc::new(Failing { operation, left: AtomicU32::new(count), error })
}

fn exists() -> io::Error {
    io::ErrorKind::AlreadyExists.into()
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    storage::list(directory).unwrap().unwrap()
}

#[test]
fn a_taken_staging_name_is_left_alone_and_the_next_one_is_tried() {
    let directory = tempdir().unwrap();
    let (committed, place) = (directory.path().join("a.ckpt"), directory.path().join("b.ckpt"));
    fs::write(&committed, "a state").unwrap();
    for (operation, count) in [("hard link", 3), ("create file", 3)] {
        let _observation = observe(directory.path(), failing(operation, count, exists));
        match operation {
            "hard link" => {
                let staged = Staged::link_or_copy(&committed, &place, &StagingOwner::default()).unwrap();
                assert_eq!(fs::read_to_string(staged.path()).unwrap(), "a state");
            }
            _ => drop(Staged::create(&place, &StagingOwner::default()).unwrap()),
        }
    }
    assert_eq!(files(directory.path()), [committed]);
}

#[test]
fn a_failed_link_is_not_replaced_by_a_copy_unless_there_can_be_none() {
    let directory = tempdir().unwrap();
    let (committed, place) = (directory.path().join("a.ckpt"), directory.path().join("b.ckpt"));
    fs::write(&committed, "a state").unwrap();
    for error in [
        exists as fn() -> io::Error,
        || io::ErrorKind::StorageFull.into(),
        || io::Error::from_raw_os_error(5),
    ] {
        let _observation = observe(directory.path(), failing("hard link", u32::MAX, error));
        let failed = Staged::link_or_copy(&committed, &place, &StagingOwner::default()).unwrap_err();
        assert!(matches!(failed, Error::Io { action: "make a hard link at", .. }), "{failed:?}");
    }
    assert_eq!(files(directory.path()), std::slice::from_ref(&committed));
    let _observation = observe(directory.path(), failing("hard link", u32::MAX, unsupported));
    let staged = Staged::link_or_copy(&committed, &place, &StagingOwner::default()).unwrap();
    fs::write(staged.path(), "another").unwrap();
    assert_eq!(fs::read_to_string(&committed).unwrap(), "a state", "a copy has a content of its own");
}

#[test]
fn without_hard_links_a_name_that_is_there_is_kept() {
    let directory = tempdir().unwrap();
    let place = directory.path().join("a.ckpt");
    let _observation = observe(directory.path(), failing("hard link", u32::MAX, unsupported));
    let write = |text: &'static str| {
        write_whole(&place, Existing::Keep, |file| {
            file.write_all(text.as_bytes()).map_err(Error::io("write", "a.ckpt"))
        })
    };
    write("first").unwrap();
    assert_eq!(write("second").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&place).unwrap(), "first");
    assert_eq!(files(directory.path()), [place]);
}

#[test]
fn a_directory_is_made_in_one_that_can_be_written_and_not_read() {
    let root = tempdir().unwrap();
    let denied = || io::ErrorKind::PermissionDenied.into();
    let _observation = observe(root.path(), failing("sync directory", u32::MAX, denied));
    create_directory(&root.path().join("a/b")).unwrap();
    assert!(root.path().join("a/b").is_dir());
}

#[test]
fn what_a_write_has_left_is_found_by_what_it_was_to_be() {
    let directory = tempdir().unwrap();
    let place = directory.path().join("a.ckpt");
    let owner = StagingOwner::default();
    let left = [staging_path(&place, &owner), staging_path(&shards_directory(&place), &owner)];
    let others =
        [staging_path(&directory.path().join("b.ckpt"), &owner), directory.path().join(".a.ckpt.staging")];
    left.iter().chain(&others).for_each(|path| fs::write(path, "half").unwrap());
    assert_eq!(unfinished_writes_of(&place).unwrap(), left);
}

/// Answers of the network get lost when the work is done.
struct LostAnswers(&'static str);

impl Observer for LostAnswers {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        match operation.name() == self.0 {
            true => Verdict::ProceedAndFail(exists()),
            false => Verdict::Proceed,
        }
    }
}

#[test]
fn a_name_that_was_given_counts_though_the_answer_is_lost() {
    for (operation, existing) in [("hard link", Existing::Keep), ("rename", Existing::Replace)] {
        let directory = tempdir().unwrap();
        let place = directory.path().join("a.ckpt");
        let _observation = observe(directory.path(), Arc::new(LostAnswers(operation)));
        write_whole::<Error>(&place, existing, |_| Ok(())).unwrap();
        assert_eq!(files(directory.path()), [place], "{operation}");
    }
}

#[cfg(unix)]
#[test]
fn only_a_regular_file_is_replaced() {
    let directory = tempdir().unwrap();
    let socket = directory.path().join("a.ckpt");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = write_whole::<Error>(&socket, Existing::Replace, |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert_eq!(files(directory.path()), [socket]);
}
