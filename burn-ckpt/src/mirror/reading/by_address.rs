//! What an address names that stands for a checkpoint: the run, and the checkpoint's name in it. For
//! the address of a run, the error says what to name instead.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::mirror::address::MirrorAddress;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::reading::checkpoint_files::CheckpointFiles;
use crate::mirror::reading::links::{link_of_name, target};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::store::Store;
use crate::run_dir::layout::check_run_id;

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
            let run = opened(store, run_id, name)?;
            let checkpoint = run.find(name)?.clone();
            Ok((run, checkpoint))
        })
    }
}

impl CheckpointFiles {
    /// The checkpoint of an address: `s3://bucket/prefix/run/best`, `s3://bucket/prefix/run/last`, or
    /// `s3://bucket/prefix/run/checkpoint/last/X.ckpt`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is none; those of [`MirroredRun::open`].
    pub(crate) fn find(address: &MirrorAddress) -> Result<Self> {
        find(address, Self::find_in)
    }

    /// The same with a store that is connected.
    pub(crate) fn find_in(store: &Store, run_id: &str, name: &str) -> Result<Self> {
        check_run_id(run_id)?;
        if let Some(files) = Self::find_by_name(store, run_id, name)? {
            return Ok(files);
        }
        let checkpoint = opened(store, run_id, name)?.find(name)?.clone();
        Ok(Self::of(store, run_id, &checkpoint))
    }

    /// A checkpoint that is named by its path, or by a link, without a listing of the run. `None` where that
    /// takes one.
    fn find_by_name(store: &Store, run_id: &str, name: &str) -> Result<Option<Self>> {
        if name.contains('/') {
            return Self::committed(store, run_id, name);
        }
        let Some(link_name) = link_of_name(store, run_id, name)? else { return Ok(None) };
        let Some(target) = target(store, run_id, &link_name)? else { return Ok(None) };
        match Self::committed(store, run_id, &target) {
            Ok(Some(files)) if files.are_there()? => Ok(Some(files)),
            // `last` can stand for another one.
            Ok(_) | Err(Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The run in which an address has a checkpoint of this name. What is not a run is not listed: it can be a
/// mirror with many.
fn opened(store: &Store, run_id: &str, name: &str) -> Result<MirroredRun> {
    check_run_id(run_id)?;
    if store.is_run(run_id)? {
        return MirroredRun::open(store, run_id);
    }
    Err(Error::NotFound {
        path: store.shown(run_id).into(),
        wanted: name.to_owned(),
        hint: "the mirror has no such run".to_owned(),
    })
}

/// Finds the checkpoint of an address in its store: by its run's id, and its name in the run.
fn find<T>(address: &MirrorAddress, find_in: impl FnOnce(&Store, &str, &str) -> Result<T>) -> Result<T> {
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
    let store = Store::connect_to_read(&mirror)?;
    if !store.is_run(&run_id)? {
        return Ok(None);
    }
    let run = MirroredRun::open(&store, &run_id)?;
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
