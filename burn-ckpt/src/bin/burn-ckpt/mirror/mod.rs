//! Checkpoints in a mirror: the verb `mirror`, and what other verbs do with an address in place of a
//! directory.

pub mod cp;
pub mod ls;
pub mod prune;
mod send;

use std::path::{Path, PathBuf};

use burn_ckpt::mirror::{MirrorAddress, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::{Error, MirrorFailure};

use crate::verb_result::Failure;

pub use send::{Args, run};

/// Writes to a run's mirror. The lease is given back, also after an error, so that the next writer need not
/// wait for its end.
fn with_lease<T>(
    store: &Store,
    run_id: &str,
    work: impl FnOnce(&mut RunMirror) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut mirror = RunMirror::open(store, run_id, &Writer::of_this_process())?;
    let outcome = work(&mut mirror);
    let closed = mirror.close();
    // The first error counts.
    let done = outcome?;
    closed?;
    Ok(done)
}

/// The address that an argument is, if it is one.
pub fn address_of(path: &Path) -> Result<Option<MirrorAddress>, Failure> {
    match path.to_str().filter(|text| MirrorAddress::is_address(text)) {
        Some(text) => Ok(Some(text.parse()?)),
        None => Ok(None),
    }
}

/// The run of an address, or each run of the mirror that it is. Nothing is made there.
pub fn runs_at(address: &MirrorAddress) -> Result<Vec<MirroredRun>, Failure> {
    let has_any = |run: &MirroredRun| !run.checkpoints().is_empty() || !run.broken().is_empty();
    if let Ok((mirror, run_id)) = address.split_last() {
        let run = MirroredRun::open(&Store::connect_to_read(&mirror)?, &run_id)?;
        if has_any(&run) {
            return Ok(vec![run]);
        }
    }
    let mut runs = Vec::new();
    match Store::connect_to_read(address) {
        Ok(store) => {
            for run_id in store.runs()? {
                runs.extend(Some(MirroredRun::open(&store, &run_id)?).filter(has_any));
            }
        }
        // Neither a run nor a mirror.
        Err(Error::Mirror { failure: MirrorFailure::NotFound, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match runs.is_empty() {
        true => Err(Failure::Other(format!("{address} has no checkpoints, and no run that has any"))),
        false => Ok(runs),
    }
}

/// The addresses of the checkpoints of a run, or of each run of the mirror, or the one checkpoint itself.
pub fn checkpoints_at(address: &MirrorAddress) -> Result<Vec<PathBuf>, Failure> {
    let text = address.to_string();
    let last = text.rsplit('/').next().unwrap_or_default();
    if last == "best" || last == "last" || last.starts_with("best_") || last.ends_with(".ckpt") {
        return Ok(vec![PathBuf::from(text)]);
    }
    let runs = runs_at(address)?;
    let whole = runs
        .iter()
        .flat_map(|run| run.checkpoints().iter().map(|checkpoint| run.address_of(&checkpoint.name)));
    let broken = runs.iter().flat_map(|run| run.broken().iter().map(|(name, _)| run.address_of(name)));
    Ok(whole.chain(broken).map(PathBuf::from).collect())
}
