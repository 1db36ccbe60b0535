//! Opens files of a run for writing, where only a regular file may be: a link is not followed, a pipe is not
//! waited for, and nothing else of that name is touched.

use std::fs::{FileType, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;

use burn_ckpt::plumbing::storage::{self, ExistingContent, StoredFile};
use burn_ckpt::plumbing::{Existing, has_another_name, write_whole};

/// Opens an empty file. If a file of that name has another name too (a hard link, as `cp -al` makes them), it
/// keeps its bytes under that one.
pub(crate) fn create(path: &Path) -> io::Result<StoredFile> {
    check(path)?;
    // Looked at when it is open: the name can stand for another file at any moment before.
    let mut file = StoredFile::open_own(path, ExistingContent::Keep)?;
    let stat = file.stat()?;
    if !has_another_name(&stat) {
        file.set_length(0)?;
        return Ok(file);
    }
    storage::remove_file(path)?;
    let file = StoredFile::create_new(path)?;
    file.set_permissions(stat.permissions())?;
    Ok(file)
}

/// Opens a file to continue it, and creates it where it is missing. If a file of that name has another name
/// too, its bytes stay as they are under that one: this name gets a copy of them.
pub(crate) fn continued(path: &Path, content: ExistingContent) -> io::Result<StoredFile> {
    check(path)?;
    let mut file = StoredFile::open_own(path, content)?;
    if !has_another_name(&file.stat()?) {
        return Ok(file);
    }
    let copied = write_whole(path, Existing::Replace, |copy| {
        let copied = copy.copy_from(&mut file);
        copied.map(drop).map_err(burn_ckpt::Error::io("copy", path))
    });
    copied.map_err(io::Error::other)?;
    let file = StoredFile::open_own(path, content)?;
    if has_another_name(&file.stat()?) {
        let reason = "another file gets that name again and again: see what else writes to the directory";
        return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
    }
    Ok(file)
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

/// The same error with the file's path in front of its text.
#[cfg(any(feature = "csv", feature = "tensorboard"))]
pub(crate) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether the open file of a path was removed.
///
/// # Errors
///
/// When another file has its name now, as after `sed -i` or a restored backup, or as that of another run.
pub(crate) fn was_removed(open: &Metadata, path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if open.nlink() > 0 {
            return Ok(false);
        }
        let Some(present) = storage::entry(path)? else { return Ok(true) };
        // Some file systems count no names.
        if (present.dev(), present.ino()) == (open.dev(), open.ino()) {
            return Ok(false);
        }
        let reason = "another file has taken its name, which stays as it is: move it away";
        Err(io::Error::new(ErrorKind::AlreadyExists, reason))
    }
    // Elsewhere an open file is not removed.
    #[cfg(not(unix))]
    {
        let _ = (open, path);
        Ok(false)
    }
}

/// What a warning says of a file that was removed, and that begins again.
pub(crate) fn begins_again(path: &Path) -> String {
    format!("{} was removed during the run: the file begins again without its earlier lines", path.display())
}

/// For the message: opening something else than a file fails, too.
fn check(path: &Path) -> io::Result<()> {
    let Some(present) = storage::entry(path)?.filter(|present| !present.is_file()) else { return Ok(()) };
    let what = named(present.file_type());
    let reason = format!("there is {what} of that name, which stays as it is: move it away");
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
    use std::path::PathBuf;
    use std::sync::Arc;

    use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict, observe};
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
            for open in [(|path| create(path).map(drop)) as Open, |path| {
                continued(path, ExistingContent::Append).map(drop)
            }] {
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

    /// Puts another name of a file, or a link to it, in the place of a file when that has been looked at.
    struct Planter {
        precious: PathBuf,
        plant: fn(&Path, &Path) -> io::Result<()>,
    }

    impl Observer for Planter {
        fn before(&self, _: &Operation<'_>) -> Verdict {
            Verdict::Proceed
        }

        fn after(&self, operation: &Operation<'_>) {
            if let Operation::Stat(path) = operation
                && fs::symlink_metadata(path).is_err()
            {
                (self.plant)(&self.precious, path).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    #[test]
    fn what_comes_in_a_files_place_after_the_look_at_it_keeps_its_bytes() {
        let plants: [fn(&Path, &Path) -> io::Result<()>; 2] =
            [|precious, path| symlink(precious, path), |precious, path| fs::hard_link(precious, path)];
        for plant in plants {
            let root = tempdir().unwrap();
            let precious = root.path().join("precious");
            fs::write(&precious, "mine").unwrap();
            let below = root.path().join("run");
            fs::create_dir(&below).unwrap();
            let planter = Planter { precious: precious.clone(), plant };
            let _observation = observe(&below, Arc::new(planter));
            for (name, open) in [
                ("created", (|path| create(path)?.write_all(b"newer")) as Open),
                ("continued", |path| {
                    continued(path, ExistingContent::Append)?.into_file().write_all(b"newer")
                }),
            ] {
                let path = below.join(name);
                let opened = open(&path);
                let is_link = fs::symlink_metadata(&path).unwrap().is_symlink();
                assert_eq!(opened.is_err(), is_link, "{name}: {opened:?}");
                assert!(is_link || fs::read_to_string(&path).unwrap().ends_with("newer"), "{name}");
                assert_eq!(fs::read_to_string(&precious).unwrap(), "mine", "{name}");
            }
        }
    }

    #[test]
    fn a_file_that_is_continued_has_its_lines_and_leaves_its_other_name_alone() {
        let root = tempdir().unwrap();
        let [path, other] = ["a.log", "copy.log"].map(|name| root.path().join(name));
        fs::write(&path, "older\n").unwrap();
        fs::hard_link(&path, &other).unwrap();
        continued(&path, ExistingContent::Append).unwrap().into_file().write_all(b"newer\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "older\nnewer\n");
        assert_eq!(fs::read_to_string(&other).unwrap(), "older\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing is left of the copy");
    }
}
