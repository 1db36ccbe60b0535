//! What `export` and `import` say before and after they write a file.

use std::io::{self, Write};
use std::path::Path;

use burn_ckpt::plumbing::sha256_of_file;

use crate::answer::{Answer, Failure};

/// Refuses to go on where the destination exists and may not be replaced.
///
/// # Errors
///
/// When it exists and `force` is not set.
pub fn refuse_existing(path: &Path, force: bool) -> Result<(), Failure> {
    // A link that leads nowhere is there too.
    if !force && (path.exists() || path.is_symlink()) {
        return Err(Failure::Other(format!("{} exists: choose another name, or --force", path.display())));
    }
    if path.is_dir() {
        return Err(Failure::Other(format!("{} is a directory", path.display())));
    }
    Ok(())
}

/// Whether two paths stand for one file that is there.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Prints the one line that says what was written.
///
/// # Errors
///
/// When the file cannot be read again, or the line not be printed.
pub fn written(path: &Path, tensors: usize) -> Answer {
    let facts = std::fs::metadata(path).map_err(|error| {
        Failure::Other(format!("{} was written, and cannot be read again: {error}", path.display()))
    })?;
    let digest = sha256_of_file(path)?;
    let line = format!("{}: {tensors} tensors, {} bytes, {digest}", path.display(), facts.len());
    match writeln!(io::stdout().lock(), "{line}") {
        // Whoever read it has seen enough; the file is written.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot print what was written: {error}")))
        }
        _ => Ok(true),
    }
}
