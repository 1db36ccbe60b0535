//! What an address names that stands for a checkpoint: the run, and the checkpoint's name in it. For
//! the address of a run, the error says what to name instead.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::mirror::address::MirrorAddress;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::Store;

impl MirroredRun {
    /// The checkpoint of an address, and its run: `s3://bucket/prefix/run/best`,
    /// `s3://bucket/prefix/run/last`, or `s3://bucket/prefix/run/checkpoint/last/X.ckpt`.
    ///
    /// ```no_run
    /// use burn_ckpt::mirror::MirroredRun;
    ///
    /// let (run, best) = MirroredRun::of_checkpoint(&"s3://bucket/prefix/r1/best".parse()?)?;
    /// run.download_to(&best, "best.ckpt", &|_| Ok(()))?;
    /// # Ok::<(), burn_ckpt::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotACheckpoint`] for the address of a run, [`Error::Name`] for one that is above all runs;
    /// those of [`MirroredRun::open`] and [`MirroredRun::find`].
    pub fn of_checkpoint(address: &MirrorAddress) -> Result<(Self, MirroredCheckpoint)> {
        find(address, |store, run_id, name| {
            let run = Self::open(store, run_id)?;
            let checkpoint = run.find(name)?.clone();
            Ok((run, checkpoint))
        })
    }
}

/// Finds the checkpoint of an address in its store: by its run's id, and its name in the run.
pub(super) fn find<T>(
    address: &MirrorAddress,
    find_in: impl FnOnce(&Store, &str, &str) -> Result<T>,
) -> Result<T> {
    let found = address.split_checkpoint().and_then(|(run, name)| {
        let (mirror, run_id) = run.split_last()?;
        find_in(&Store::connect_to_read(&mirror)?, &run_id, &name)
    });
    found.map_err(|error| match &error {
        // What is wrong with the address is still that, where the rest of it cannot be looked at.
        Error::NotFound { .. } | Error::Name { .. } => is_a_run(address).ok().flatten().unwrap_or(error),
        _ => error,
    })
}

/// The error of an address that is a run's, and not a checkpoint's.
fn is_a_run(address: &MirrorAddress) -> Result<Option<Error>> {
    let (mirror, run_id) = address.split_last()?;
    let run = MirroredRun::open(&Store::connect_to_read(&mirror)?, &run_id)?;
    let checkpoints = run.checkpoints().iter().map(|checkpoint| run.address_of(&checkpoint.name));
    let links: Vec<String> = run
        .links()
        .into_iter()
        .map(|link| address.join(link.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(link)))
        .collect();
    let names = if links.is_empty() { checkpoints.collect() } else { links };
    Ok((!names.is_empty()).then(|| {
        let hint = format!("it is a run; name one of its checkpoints: {}", names.join(", "));
        Error::not_a_checkpoint(Path::new(&address.to_string()), hint)
    }))
}
