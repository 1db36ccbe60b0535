//! Checks before `export`, `import` and others write a file, and the line that they print after it,
//! as does `cp`.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use burn_ckpt::plumbing::{
    CHECKPOINT_SUFFIX, Existing, is_checkpoint, is_directory, is_there, real_path_if_there, sha256_of_file,
    storage, unfinished_writes_of,
};
use burn_ckpt::{Error, Metadata};
use serde_json::json;

use crate::terminal::figures::{count, exact_size};
use crate::terminal::output::{Output, say};
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

/// Where the copy of a checkpoint of this path is to be.
///
/// # Errors
///
/// Wrong usage for a name that is neither that of a directory nor that of a checkpoint.
pub fn copy_destination(wanted: &Path, source: &Path) -> Result<PathBuf, Failure> {
    // One that is not there, and is written as a directory, is made.
    let is_written_as_one =
        wanted.as_os_str().to_string_lossy().ends_with(std::path::is_separator) && !is_there(wanted)?;
    if is_written_as_one || is_directory(wanted)? {
        return Ok(wanted.join(source.file_name().unwrap_or_default()));
    }
    match is_checkpoint(wanted) {
        true => Ok(wanted.to_path_buf()),
        false => Err(Failure::Usage(format!(
            "{} is not a directory, and a checkpoint's name ends in {CHECKPOINT_SUFFIX}: write a directory with a {MAIN_SEPARATOR} at its end, or add the ending",
            wanted.display()
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
    check_place(path, force, "choose another name, or --force")
}

/// What becomes of a file that another process makes under the name meanwhile.
pub fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

/// The same for a file whose name is given, as it belongs to the one beside it.
///
/// # Errors
///
/// As for [`check_destination`].
pub fn check_destination_beside(path: &Path, force: bool) -> Result<(), Failure> {
    check_place(path, force, "--force replaces it")
}

/// `advice` is for where a file is there.
fn check_place(path: &Path, force: bool, advice: &str) -> Result<(), Failure> {
    let shown = path.display();
    match storage::entry(path) {
        Ok(Some(present)) if !present.is_file() => Err(Failure::Other(format!(
            "{shown} is {} and is not replaced: choose another name, or remove it",
            named(present.file_type())
        ))),
        Ok(Some(_)) if !force => Err(Failure::Other(format!("{shown} exists: {advice}"))),
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
    Ok(matches!((real_path_if_there(a)?, real_path_if_there(b)?), (Some(a), Some(b)) if a == b))
}

/// Prints one line about the written file, or JSON. The size of a checkpoint of several files is that of all
/// of them, and its digest that of its file, which has the digests of the others.
///
/// # Errors
///
/// When the file cannot be read again, or the line cannot be printed.
pub fn print_written(path: &Path, tensors: usize, as_json: bool) -> VerbResult {
    let stat = storage::StoredFile::open(path).and_then(|file| file.stat()).map_err(|error| {
        Failure::Other(format!("{} was written, but cannot be read again: {error}", path.display()))
    })?;
    let (mut bytes, digest) = (stat.len(), sha256_of_file(path)?);
    let mut files = String::new();
    if is_checkpoint(path)
        && let Ok(metadata) = Metadata::of_checkpoint(path)
    {
        (bytes, files) = (metadata.total_bytes(), in_files(&metadata));
    }
    let shown = path.display().to_string();
    let mut output = Output::new();
    if as_json {
        let checksum = if is_checkpoint(path) { "checkpoint_checksum" } else { "checksum" };
        output.json(&json!({ "path": shown, "tensors": tensors, "size_bytes": bytes, checksum: digest }))?;
    } else {
        let tensors = count(tensors, "tensor");
        output.line(format!("{}: {tensors}, {bytes} bytes{files}, {digest}", in_one_line(&shown)))?;
    }
    // A reader that has closed standard output is not an error: the file is written.
    output.flush()?;
    Ok(true)
}

/// Prints one line about the copy of a checkpoint, or JSON.
///
/// # Errors
///
/// When the line cannot be printed.
pub fn print_copied(from: &str, to: &Path, metadata: &Metadata, as_json: bool) -> VerbResult {
    let (size, digest) = (metadata.total_bytes(), &metadata.checkpoint_checksum);
    let shown = to.display().to_string();
    let mut output = Output::new();
    if as_json {
        output.json(&json!({
            "from": from,
            "path": shown,
            "size_bytes": size,
            "files": 1 + metadata.shards.len(),
            "checkpoint_checksum": digest,
        }))?;
    } else {
        let (shown, size, files) = (in_one_line(&shown), exact_size(size), in_files(metadata));
        output.line(format!("{shown}: step {}, {size}{files}, verified, {digest}", metadata.global_step))?;
    }
    output.flush()?;
    Ok(true)
}

/// In how many files a checkpoint of several is.
fn in_files(metadata: &Metadata) -> String {
    match metadata.shards.len() {
        0 => String::new(),
        shards => format!(" in {}", count(1 + shards, "file")),
    }
}
