//! Checks before `export` and `import` write a file, and the line that they print after it.

use std::io::{self, Write};
use std::path::Path;

use burn_ckpt::plumbing::sha256_of_file;

use crate::answer::{Answer, Failure};

/// Checks that the destination can be written.
///
/// # Errors
///
/// When it is a directory, or when it exists and `force` is not set.
pub fn check_destination(path: &Path, force: bool) -> Result<(), Failure> {
    // A link to a missing file exists too, but `exists` follows it.
    if !force && (path.exists() || path.is_symlink()) {
        return Err(Failure::Other(format!("{} exists: choose another name, or --force", path.display())));
    }
    if path.is_dir() {
        return Err(Failure::Other(format!("{} is a directory", path.display())));
    }
    Ok(())
}

/// Whether two paths name the same existing file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Prints one line about the written file.
///
/// # Errors
///
/// When the file cannot be read again, or the line cannot be printed.
pub fn print_written(path: &Path, tensors: usize) -> Answer {
    let facts = std::fs::metadata(path).map_err(|error| {
        Failure::Other(format!("{} was written, but cannot be read again: {error}", path.display()))
    })?;
    let digest = sha256_of_file(path)?;
    let line = format!("{}: {tensors} tensors, {} bytes, {digest}", path.display(), facts.len());
    match writeln!(io::stdout().lock(), "{line}") {
        // The reader closed standard output. The file is written nevertheless.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot print what was written: {error}")))
        }
        _ => Ok(true),
    }
}
