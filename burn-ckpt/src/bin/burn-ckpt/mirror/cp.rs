//! `burn-ckpt cp` from a mirror: a checkpoint to disk, compared with its digests while it is written.

use std::path::Path;

use burn_ckpt::Checkpoint;
use burn_ckpt::mirror::{MirrorAddress, MirroredRun};
use burn_ckpt::plumbing::metadata_path;

use crate::foreign::{check_destination, copy_destination, print_copied};
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
    print_copied(&run.address_of(&checkpoint.name), &place, &metadata, as_json)
}
