//! `burn-ckpt cp` from a mirror: a checkpoint to disk, compared with its digests while it is written.

use std::path::Path;

use burn_ckpt::Checkpoint;
use burn_ckpt::mirror::{MirrorAddress, MirroredRun};
use burn_ckpt::plumbing::metadata_path;
use serde_json::json;

use crate::foreign::{check_destination, copy_destination};
use crate::terminal::figures::exact_size;
use crate::terminal::output::Output;
use crate::terminal::printable::in_one_line;
use crate::verb_result::VerbResult;

/// Copies a checkpoint of an address to a directory, or to a file of a name.
pub fn run(address: &MirrorAddress, destination: &Path, force: bool, as_json: bool) -> VerbResult {
    let (run, checkpoint) = MirroredRun::of_checkpoint(address)?;
    let place = copy_destination(destination, Path::new(&checkpoint.name))?;
    check_destination(&place, force)?;
    check_destination(&metadata_path(&place), force)?;
    match force {
        true => run.download_over(&checkpoint, &place, &|_| Ok(()))?,
        false => run.download_to(&checkpoint, &place, &|_| Ok(()))?,
    }
    let metadata = Checkpoint::open(&place)?.metadata()?;
    let mut output = Output::new();
    if as_json {
        output.json(&json!({
            "from": run.address_of(&checkpoint.name),
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
