//! Looking at what a run left in its directory.

use std::path::{Path, PathBuf};

use burn_ckpt::{Checkpoint, Contents, Metadata};
use serde_json::Value;
use tempfile::TempDir;

use crate::programs::commands::sha256sum;

/// The directory of the run `r1`.
#[must_use]
pub fn run_dir(root: &Path) -> PathBuf {
    root.join("burn_trainer_logs/r1")
}

/// A directory in memory where there is one: for tests of which the syncs of a disk would take most of the
/// time.
///
/// # Panics
///
/// When there can be no temporary directory.
#[must_use]
pub fn in_memory() -> TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.unwrap_or_else(|error| panic!("no temporary directory: {error}"))
}

/// The `checkpoint` directory of the run `r1`.
#[must_use]
pub fn checkpoints(root: &Path) -> PathBuf {
    run_dir(root).join("checkpoint")
}

/// Every file and link below a directory, relative to it and sorted; a link with its target.
///
/// # Panics
///
/// When the directory cannot be read.
#[must_use]
pub fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    collect(directory, directory, &mut found);
    found.sort();
    found
}

/// Every directory below a directory, relative to it.
///
/// # Panics
///
/// When the directory cannot be read.
#[must_use]
pub fn directories(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        let entries = std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display()));
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                let name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
                found.push(name);
                open.push(path);
            }
        }
    }
    found
}

/// The names of the checkpoints in a directory, without ending, sorted.
///
/// # Panics
///
/// When the directory cannot be read.
#[must_use]
pub fn stems(directory: &Path) -> Vec<String> {
    files(directory).iter().filter_map(|name| name.strip_suffix(".ckpt").map(str::to_owned)).collect()
}

/// The metadata of a checkpoint or a link, as plain JSON.
///
/// # Panics
///
/// When it is not there or no JSON.
#[must_use]
pub fn metadata(checkpoint: &Path) -> Value {
    let path = format!("{}.metadata.json", checkpoint.display());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metadata of the last checkpoint of the run `r1`, typed.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn last_metadata(root: &Path) -> Metadata {
    let last = checkpoints(root).join("last.ckpt");
    Metadata::of_checkpoint(&last).unwrap_or_else(|error| panic!("{}: {error}", last.display()))
}

/// The `hardware` in the metadata of the last checkpoint of the run `r1`.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn hardware(root: &Path) -> Value {
    metadata(&checkpoints(root).join("last.ckpt"))["environment"]["hardware"].clone()
}

/// The metadata of a checkpoint, without the parts that differ between any two runs.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn described_state(checkpoint: &Path) -> Value {
    const SAME_IN_EVERY_RUN: [&str; 6] = ["tensors", "metrics", "epoch", "global_step", "reason", "hparams"];
    let mut all = metadata(checkpoint);
    if let Some(fields) = all.as_object_mut() {
        fields.retain(|name, _| SAME_IN_EVERY_RUN.contains(&name.as_str()));
    }
    all
}

/// The names of the checkpoints in `last` of the run `r1`, without ending, sorted.
///
/// # Panics
///
/// When the directory cannot be read.
#[must_use]
pub fn last_epochs(root: &Path) -> Vec<String> {
    stems(&checkpoints(root).join("last"))
}

/// Copies what is in a directory into another one, which is made if it is missing. Links stay links.
///
/// # Panics
///
/// When that fails.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} is not copied", from.display());
}

/// Puts files in the place of a run's links, as a system without symbolic links has them: hard links, or
/// copies.
///
/// # Panics
///
/// When that fails.
pub fn links_as_files(run: &Path, copied: bool) {
    let replace_links = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(run.join("checkpoint"))? {
            let link = entry?.path();
            if link.is_symlink() {
                let target = std::fs::canonicalize(&link)?;
                std::fs::remove_file(&link)?;
                match copied {
                    true => std::fs::copy(target, link).map(drop)?,
                    false => std::fs::hard_link(target, link)?,
                }
            }
        }
        Ok(())
    };
    replace_links().unwrap_or_else(|error| panic!("{}: {error}", run.display()));
}

/// Copies a checkpoint with its metadata.
///
/// # Panics
///
/// When that fails.
pub fn copy_checkpoint(from: &Path, to: &Path) {
    for end in ["", ".metadata.json"] {
        let [from, to] = [from, to].map(|path| format!("{}{end}", path.display()));
        std::fs::copy(&from, &to).unwrap_or_else(|error| panic!("{from}: {error}"));
    }
}

/// Writes a checkpoint again with other metadata, in the file and beside it.
///
/// # Panics
///
/// When it is not a checkpoint, or its metadata is none after the edit.
pub fn edit_metadata(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut described = metadata(path);
    edit(&mut described);
    let described = serde_json::from_value(described);
    let described = described.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let written = Checkpoint::open(path).and_then(|checkpoint| {
        let mut contents = Contents::new(&checkpoint.hparams::<Value>()?)?;
        contents.trainer_state = checkpoint.trainer_state()?;
        for name in checkpoint.sections() {
            contents = contents.with_section(name, checkpoint.section(name)?);
        }
        contents.save(path, described)
    });
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The position of the last byte that is not zero of the tensors in a checkpoint of version 2.
///
/// # Panics
///
/// If the bytes are not such a checkpoint's.
#[must_use]
pub fn last_tensor_byte(checkpoint: &[u8]) -> usize {
    let metadata = br#"{"header_blake3""#;
    let end = checkpoint.windows(metadata.len()).rposition(|window| window == metadata);
    let end = end.unwrap_or_else(|| panic!("it has no metadata itself"));
    checkpoint[..end].iter().rposition(|byte| *byte != 0).unwrap_or_default()
}

/// Where a link leads to.
///
/// # Panics
///
/// When it is not a link.
#[must_use]
pub fn target(link: &Path) -> PathBuf {
    std::fs::read_link(link).unwrap_or_else(|error| panic!("{}: {error}", link.display()))
}

/// Checks that every file under a final name is what its metadata says, and that every link leads to one.
/// Returns how many checkpoints there are.
///
/// # Errors
///
/// Naming the first that is not.
///
/// # Panics
///
/// When the directory cannot be read, or metadata is missing or no JSON.
pub fn complete_checkpoints(directory: &Path) -> Result<usize, String> {
    let mut whole = 0;
    for name in files(directory) {
        if let Some((link, _)) = name.split_once(" -> ") {
            if !directory.join(link).exists() {
                return Err(format!("{name} leads nowhere"));
            }
        } else if name.ends_with(".ckpt") {
            let path = directory.join(&name);
            let (said, is) = (&metadata(&path)["checkpoint_checksum"], sha256sum(&path)?);
            if *said != format!("sha256:{is}") {
                return Err(format!("{name} has sha256:{is}, and its metadata says {said}"));
            }
            whole += 1;
        }
    }
    Ok(whole)
}

fn collect(top: &Path, directory: &Path, found: &mut Vec<String>) {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path();
        let name = path.strip_prefix(top).unwrap_or(&path).display().to_string();
        if path.is_symlink() {
            found.push(format!("{name} -> {}", target(&path).display()));
        } else if path.is_dir() {
            collect(top, &path, found);
        } else {
            found.push(name);
        }
    }
}
