//! Creating directories, making changes in them durable, and removing files that may be missing.

use std::fs;
#[cfg(unix)]
use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Creates a directory and its missing parents, and makes them durable.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    let new: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
    new.into_iter().try_for_each(sync_directory_of)
}

/// The directory of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes renames and removals in a file's directory durable.
pub(crate) fn sync_directory_of(file: &Path) -> Result<()> {
    // Only Unix can sync a directory. Elsewhere a rename is as durable as the system makes it.
    #[cfg(unix)]
    {
        let directory = parent(file);
        let handle = File::open(directory).map_err(Error::io("open the directory", directory))?;
        handle.sync_all().map_err(Error::io("sync the directory", directory))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// Removes a file. A missing file is not an error.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
