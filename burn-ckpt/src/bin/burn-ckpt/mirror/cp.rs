//! `burn-ckpt cp` from a mirror: a checkpoint to disk, compared with its digests while it is written.

use std::path::{Path, PathBuf};

use burn_ckpt::Checkpoint;
use burn_ckpt::mirror::{MirrorAddress, MirroredRun, Store};
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, is_checkpoint, is_directory};
use serde_json::json;

use crate::terminal::figures::exact_size;
use crate::terminal::output::Output;
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// Copies a checkpoint of an address to a directory, or to a file of a name.
pub fn run(address: &MirrorAddress, destination: &Path, as_json: bool) -> VerbResult {
    let (run, name) = address.split_checkpoint()?;
    let (mirror, run_id) = run.split_last()?;
    let run = MirroredRun::open(&Store::connect(&mirror)?, &run_id)?;
    let checkpoint = run.find(&name)?;
    let place = place(destination, &checkpoint.name)?;
    run.download_to(checkpoint, &place, &|_| Ok(()))?;
    let metadata = Checkpoint::open(&place)?.metadata()?;
    let mut output = Output::new();
    if as_json {
        output.json(&json!({
            "from": format!("{run_id}/{}", checkpoint.name),
            "path": place.display().to_string(),
            "size_bytes": metadata.total_bytes(),
            "files": 1 + metadata.shards.len(),
            "checkpoint_checksum": metadata.checkpoint_checksum,
        }))?;
    } else {
        let (size, digest) = (exact_size(metadata.total_bytes()), &metadata.checkpoint_checksum);
        output.line(format!(
            "{}: step {}, {size}, whole, {digest}",
            in_one_line(&place.display().to_string()),
            metadata.global_step
        ))?;
    }
    output.flush()?;
    Ok(true)
}

fn place(destination: &Path, name: &str) -> Result<PathBuf, Failure> {
    if is_directory(destination)? {
        return Ok(destination.join(name.rsplit('/').next().unwrap_or(name)));
    }
    match is_checkpoint(destination) {
        true => Ok(destination.to_path_buf()),
        false => Err(Failure::Usage(format!(
            "{} is not a directory, and a checkpoint's name ends in {CHECKPOINT_SUFFIX}: create the directory, or add the ending",
            destination.display()
        ))),
    }
}
