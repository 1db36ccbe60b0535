//! Opens files of a run for writing, where only a regular file may be: a link is not followed, a pipe is not waited for, and
//! nothing else of that name is touched.

use std::fs::{FileType, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;

use burn_ckpt::plumbing::storage::{self, ExistingContent, StoredFile};
use burn_ckpt::plumbing::{Existing, write_whole};

/// Opens an empty file. If a file of that name has another name too (a hard link, as `cp -al` makes them), it keeps its bytes under
/// that one.
pub(crate) fn create(path: &Path) -> io::Result<StoredFile> {
    let present = storage::entry(path)?;
    if let Some(present) = present.as_ref() {
        check(present.file_type())?;
    }
    let Some(linked) = present.filter(has_another_name) else {
        return StoredFile::open_own(path, ExistingContent::Remove);
    };
    storage::remove_file(path)?;
    let file = StoredFile::create_new(path)?;
    file.set_permissions(linked.permissions())?;
    Ok(file)
}

/// Makes sure that a file can be written at its end, by whoever opens it next, and creates it where it is missing. If a file of that
/// name has another name too, its bytes stay as they are under that one: this name gets a copy of them.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    let present = storage::entry(path)?;
    if let Some(present) = present.as_ref() {
        check(present.file_type())?;
    }
    if present.as_ref().is_some_and(has_another_name) {
        let mut linked = StoredFile::open(path)?;
        let copied = write_whole(path, Existing::Replace, |file| {
            let copied = file.copy_from(&mut linked);
            copied.map(drop).map_err(|source| burn_ckpt::Error::Io {
                action: "copy",
                path: path.into(),
                source,
            })
        });
        copied.map_err(io::Error::other)?;
    }
    StoredFile::open_own(path, ExistingContent::Keep).map(drop)
}

/// Creates a directory, whose parent exists. A link to a directory in its place is an error.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let error = match storage::create_directory(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
        created => return created,
    };
    let present = storage::entry(path)?.map(|present| present.file_type());
    if present.is_some_and(|present| present.is_dir()) {
        return Ok(());
    }
    let what = present.map_or("not there", named);
    let reason = format!("{} is {what} and not a directory: {error}", path.display());
    Err(io::Error::new(ErrorKind::NotADirectory, reason))
}

fn has_another_name(present: &Metadata) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::nlink(present) > 1
    }
    #[cfg(not(unix))]
    {
        let _ = present;
        false
    }
}

fn check(present: FileType) -> io::Result<()> {
    if present.is_file() {
        return Ok(());
    }
    let reason = format!("there is {} of that name, which stays as it is: move it away", named(present));
    Err(io::Error::new(ErrorKind::AlreadyExists, reason))
}

fn named(present: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if present.is_fifo() {
            return "a pipe";
        } else if present.is_socket() {
            return "a socket";
        } else if present.is_char_device() || present.is_block_device() {
            return "a device";
        }
    }
    if present.is_symlink() {
        "a symbolic link"
    } else if present.is_dir() {
        "a directory"
    } else {
        "a file"
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::tempdir;

    type Open = fn(&Path) -> io::Result<()>;

    #[test]
    fn a_link_a_pipe_a_socket_and_a_directory_stay_as_they_are() {
        let root = tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("precious"), "mine").unwrap();
        symlink("precious", at("link")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        let all = [
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("directory", "a directory"),
            ("socket", "a socket"),
            ("pipe", "a pipe"),
        ];
        for (name, what) in all {
            for open in [(|path| create(path).map(drop)) as Open, check_writable] {
                let before = fs::symlink_metadata(at(name)).unwrap().file_type();
                let error = open(&at(name)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name}");
                assert!(error.to_string().contains(what), "{error}");
                assert_eq!(fs::symlink_metadata(at(name)).unwrap().file_type(), before);
            }
            if name != "directory" {
                let error = create_directory(&at(name)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotADirectory, "{error}");
            }
        }
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "mine");
        assert!(!at("missing").exists());
    }

    #[test]
    fn a_file_that_is_written_again_keeps_its_mode_and_leaves_its_other_name_alone() {
        let root = tempdir().unwrap();
        let [path, other] = ["a.log", "copy.log"].map(|name| root.path().join(name));
        fs::write(&path, "older").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(&path, &other).unwrap();
        create(&path).unwrap().write_all(b"newer").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert_eq!(fs::read_to_string(&other).unwrap(), "older");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_file_that_is_continued_has_its_lines_and_leaves_its_other_name_alone() {
        let root = tempdir().unwrap();
        let [path, other] = ["a.log", "copy.log"].map(|name| root.path().join(name));
        fs::write(&path, "older\n").unwrap();
        fs::hard_link(&path, &other).unwrap();
        check_writable(&path).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"newer\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "older\nnewer\n");
        assert_eq!(fs::read_to_string(&other).unwrap(), "older\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left of the copy");
    }
}
