//! `burn-ckpt cp` from a mirror: a checkpoint, or a whole run, to disk, compared with its digests while it is
//! written.

use std::path::Path;

use burn_ckpt::mirror::{MirrorAddress, MirroredRun};
use burn_ckpt::plumbing::{is_checkpoint, metadata_path};
use burn_ckpt::{Checkpoint, Error};

use crate::foreign::{check_destination, copy_destination, print_copied};
use crate::mirror::{check_has_no_runs, cp_run, run_at};
use crate::verb_result::{Failure, VerbResult};

/// Copies a checkpoint of an address to a directory, or to a file of a name; or a run to a directory.
pub fn run(address: &MirrorAddress, destination: &Path, force: bool, as_json: bool) -> VerbResult {
    // The name of a file is for a checkpoint: the error says which the run has.
    if !is_checkpoint(destination)
        && let Some(run) = run_at(address)?
    {
        return cp_run::run(&run, destination, force, as_json);
    }
    let (run, checkpoint) = match MirroredRun::of_checkpoint(address) {
        Ok(found) => found,
        Err(error @ (Error::NotFound { .. } | Error::Name { .. })) => {
            check_has_no_runs(address)?;
            return Err(error.into());
        }
        Err(error) => return Err(Failure::from(error)),
    };
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
