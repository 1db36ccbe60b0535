//! Checks before `export` and `import` write a file, and the line that they print after it.

use std::io::{self, Write};
use std::path::Path;

use burn_ckpt::Error;
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, is_checkpoint, sha256_of_file, storage, unfinished_writes_of};

use crate::terminal::output::say;
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// Fails for the name of a checkpoint to write that `ls` and `verify` would not see.
///
/// # Errors
///
/// Wrong usage for one that does not end in `.ckpt`.
pub fn check_checkpoint_name(path: &Path) -> Result<(), Failure> {
    match is_checkpoint(path) {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "{} is not the name of a checkpoint, which ends in {CHECKPOINT_SUFFIX}: add the ending",
            path.display()
        ))),
    }
}

/// Checks that the destination can be written. Only a regular file is replaced: a link, a pipe, a device or a
/// directory is not the program's. Names what a write that was killed has left beside it, as that is hidden
/// and can be large.
///
/// # Errors
///
/// When something else is there, when a file is there and `force` is not set, or when that cannot be seen.
pub fn check_destination(path: &Path, force: bool) -> Result<(), Failure> {
    let shown = path.display();
    match storage::entry(path) {
        Ok(Some(present)) if !present.is_file() => Err(Failure::Other(format!(
            "{shown} is {} and is not replaced: choose another name, or remove it",
            named(present.file_type())
        ))),
        Ok(Some(_)) if !force => {
            Err(Failure::Other(format!("{shown} exists: choose another name, or --force")))
        }
        Ok(_) => {
            for left in unfinished_writes_of(path)? {
                say(format!(
                    "note: {} is of a write of {shown} that was killed, or has not ended: remove it if it was killed",
                    in_one_line(&left.display().to_string())
                ));
            }
            Ok(())
        }
        Err(error) => Err(Failure::Other(format!("cannot see what {shown} is: {error}"))),
    }
}

fn named(present: std::fs::FileType) -> &'static str {
    if present.is_symlink() {
        "a link"
    } else if present.is_dir() {
        "a directory"
    } else {
        "a device or a pipe"
    }
}

/// Whether two paths name the same existing file.
///
/// # Errors
///
/// When that cannot be found out.
pub fn same_file(a: &Path, b: &Path) -> Result<bool, Error> {
    let real = |path: &Path| {
        let failed = |source| Error::Io { action: "resolve", path: path.to_path_buf(), source };
        storage::canonicalize(path).map_err(failed)
    };
    Ok(matches!((real(a)?, real(b)?), (Some(a), Some(b)) if a == b))
}

/// Prints one line about the written file.
///
/// # Errors
///
/// When the file cannot be read again, or the line cannot be printed.
pub fn print_written(path: &Path, tensors: usize) -> VerbResult {
    let stat = storage::StoredFile::open(path).and_then(|file| file.stat()).map_err(|error| {
        Failure::Other(format!("{} was written, but cannot be read again: {error}", path.display()))
    })?;
    let digest = sha256_of_file(path)?;
    let line = format!("{}: {tensors} tensors, {} bytes, {digest}", path.display(), stat.len());
    match writeln!(io::stdout().lock(), "{line}") {
        // The reader closed standard output. The file is written nevertheless.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot print what was written: {error}")))
        }
        _ => Ok(true),
    }
}
