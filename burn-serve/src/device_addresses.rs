//! The addresses of the devices: on standard output, and in a file for scripts.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn_trainer::remote::RemoteAddress;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// The file with the addresses, which is deleted when this is dropped: the devices cannot be connected then.
#[derive(Debug)]
pub struct Announced {
    file: Option<PathBuf>,
}

impl Announced {
    /// Prints one line for each device, which a client gives to `--device`, and writes the same to the file.
    /// The file exists whole or not at all.
    pub fn new(first: &RemoteAddress, count: usize, file: Option<&Path>) -> Result<Self> {
        let lines: String =
            (0..count).map(|index| format!("{}\n", first.clone().with_index(index))).collect();
        if let Some(file) = file {
            write(file, &lines).map_err(|error| Error::Announce {
                to: file.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        let announced = Self { file: file.map(Path::to_path_buf) };
        let mut stdout = io::stdout().lock();
        stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
            Error::Announce { to: "standard output".to_owned(), reason: error.to_string() }
        })?;
        Ok(announced)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // A client that still has the address gets an error when it connects.
            let _ = fs::remove_file(file);
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let mut staged = new_file(directory.unwrap_or(Path::new(".")))?;
    staged.write_all(text.as_bytes())?;
    staged.persist(path)?;
    Ok(())
}

/// For everybody to read, as far as the process's mask allows: there is no secret in it.
#[cfg(unix)]
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(directory)
}

#[cfg(not(unix))]
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    NamedTempFile::new_in(directory)
}
