//! Opens files of a run for writing, where only a regular file may be: a link is not followed, a pipe is not waited for, and
//! nothing else of that name is touched.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::path::Path;

/// Creates an empty file to append to. A regular file of that name is removed first, so that another name of it (a hard link, as
/// `cp -al` makes them) keeps its bytes.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let present = match fs::symlink_metadata(path) {
        Ok(present) => Some(present),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(present) = &present {
        check(present.file_type())?;
        fs::remove_file(path)?;
    }
    // Follows no link that has come meanwhile.
    let file = OpenOptions::new().append(true).create_new(true).open(path)?;
    if let Some(present) = present {
        file.set_permissions(present.permissions())?;
    }
    Ok(file)
}

/// Opens a file to append to, and creates it where it is missing.
pub(crate) fn open_to_append(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(present) => check(present.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Another file can have come meanwhile.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// Creates a directory, whose parent exists. A link to a directory in its place is an error.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let error = match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => error,
        created => return created,
    };
    let present = fs::symlink_metadata(path)?.file_type();
    if present.is_dir() {
        return Ok(());
    }
    let reason = format!("{} is {} and not a directory: {error}", path.display(), named(present));
    Err(io::Error::new(io::ErrorKind::NotADirectory, reason))
}

fn check(present: FileType) -> io::Result<()> {
    if present.is_file() {
        return Ok(());
    }
    let reason = format!("there is {} of that name, which stays as it is: move it away", named(present));
    Err(io::Error::new(io::ErrorKind::AlreadyExists, reason))
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
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::tempdir;

    type Open = fn(&Path) -> io::Result<File>;

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
            for open in [create as Open, open_to_append] {
                let before = fs::symlink_metadata(at(name)).unwrap().file_type();
                let error = open(&at(name)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
                assert!(error.to_string().contains(what), "{error}");
                assert_eq!(fs::symlink_metadata(at(name)).unwrap().file_type(), before);
            }
            if name != "directory" {
                let error = create_directory(&at(name)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
            }
        }
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "mine");
        assert!(!at("missing").exists());
    }

    #[test]
    fn a_file_that_is_written_anew_keeps_its_mode_and_leaves_its_other_name_alone() {
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
}
