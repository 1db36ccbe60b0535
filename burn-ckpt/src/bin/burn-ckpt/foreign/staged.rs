//! A file that is written beside its destination and gets its name when it is whole, as a checkpoint does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::Failure;

/// How many staging files of killed processes are stepped over.
const MAX_LEFTOVERS: u32 = 100;

/// A staged file; removed when dropped before [`Staged::publish`].
pub struct Staged {
    file: File,
    path: PathBuf,
    destination: PathBuf,
    renamed: bool,
}

impl Staged {
    /// Creates a staging file for `destination`, and its directory where it is missing.
    pub fn beside(destination: &Path) -> Result<Self, Failure> {
        let Some(name) = destination.file_name() else {
            return Err(Failure::Other(format!("{} cannot be the name of a file", destination.display())));
        };
        fs::create_dir_all(directory_of(destination))
            .map_err(|error| failed("create the directory of", destination, &error))?;
        let mut number = 0;
        loop {
            let staging = format!(".{}.{}-{number}.staging", name.to_string_lossy(), std::process::id());
            let path = destination.with_file_name(staging);
            match File::create_new(&path) {
                Ok(file) => {
                    return Ok(Self { file, path, destination: destination.to_path_buf(), renamed: false });
                }
                // Left by a killed process that had our number, as those in containers often have.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_LEFTOVERS => {
                    number += 1;
                }
                Err(error) => return Err(failed("create", &path, &error)),
            }
        }
    }

    /// Where to write.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the file durable and gives it its name. Without `replace`, a file of that name is an error and stays.
    pub fn publish(mut self, replace: bool) -> Result<(), Failure> {
        // Data is durable before it has a name, so that the name never stands for half a file.
        self.file.sync_all().map_err(|error| failed("sync", &self.path, &error))?;
        let create = |error: io::Error| failed("create", &self.destination, &error);
        // A hard link, unlike a rename, never replaces; the staging name is removed on dropping.
        let linked = if replace { None } else { Some(fs::hard_link(&self.path, &self.destination)) };
        match linked {
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => return Err(create(error)),
            // To be replaced, or a file system without hard links.
            _ => {
                fs::rename(&self.path, &self.destination).map_err(create)?;
                self.renamed = true;
            }
        }
        sync_directory_of(&self.destination)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing to report to: what failed has its own error, and a leftover is told by its name.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes the new name durable; only Unix can.
fn sync_directory_of(file: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        let directory = directory_of(file);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed("sync the directory", directory, &error))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot {action} {}: {error}", path.display()))
}
