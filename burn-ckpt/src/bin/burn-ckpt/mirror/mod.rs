//! Checkpoints in a mirror: the verb `mirror`, and what other verbs do with an address in place of a
//! directory.

mod condition;
pub mod cp;
mod cp_run;
pub mod ls;
mod outcome;
pub mod prune;
pub mod rm;
mod send;

use std::path::{Path, PathBuf};

use burn_ckpt::mirror::{MirrorAddress, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_SUFFIX, LAST_DIR};
use burn_ckpt::{Error, MirrorFailure};

use crate::verb_result::Failure;
use condition::{dangling, links, say_what_is_lost};

pub use send::{Args, run};

/// The most runs that an error names.
const SHOWN_RUNS: usize = 8;

/// Writes to a run's mirror, unless `check` fails. The lease is given back, also after an error, so that the
/// next writer need not wait for its end.
fn with_lease<T>(
    store: &Store,
    run_id: &str,
    check: impl FnOnce(&MirroredRun) -> Result<(), Error>,
    work: impl FnOnce(&mut RunMirror) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (mut mirror, run) = RunMirror::open_and_read(store, run_id, &Writer::of_this_process())?;
    let outcome = check(&run).map_err(Failure::from).and_then(|()| work(&mut mirror));
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

/// The run of an address, if it is that of a run with any checkpoints.
pub fn run_at(address: &MirrorAddress) -> Result<Option<MirroredRun>, Failure> {
    let Ok((mirror, run_id)) = address.split_last() else { return Ok(None) };
    let Some(store) = store_if_there(&mirror)? else { return Ok(None) };
    // A mirror can have more objects than are listed at once.
    if !store.is_run(&run_id)? {
        return Ok(None);
    }
    Ok(Some(MirroredRun::open(&store, &run_id)?).filter(has_any))
}

fn has_any(run: &MirroredRun) -> bool {
    !run.checkpoints().is_empty() || !run.broken().is_empty()
}

/// The runs of an address.
#[derive(Default)]
pub struct FoundRuns {
    pub runs: Vec<MirroredRun>,
    /// The addresses of runs that cannot be read, each with why.
    pub unreadable: Vec<(String, Error)>,
}

/// The run of an address, or each run of the mirror that it is. Nothing is made there.
pub fn runs_at(address: &MirrorAddress) -> Result<FoundRuns, Failure> {
    if let Ok((mirror, _)) = address.split_last() {
        // A directory that is not there is an error with its name.
        Store::connect_to_read(&mirror)?;
    }
    if let Some(run) = run_at(address)? {
        return Ok(FoundRuns { runs: vec![run], unreadable: Vec::new() });
    }
    let mut found = FoundRuns::default();
    if let Some(store) = store_if_there(address)? {
        for run_id in store.runs()? {
            // Beside the runs there can be directories of others.
            let opened = match store.is_run(&run_id) {
                Ok(false) => continue,
                Ok(true) => MirroredRun::open(&store, &run_id),
                Err(error) => Err(error),
            };
            match opened {
                Ok(run) => found.runs.extend(Some(run).filter(has_any)),
                Err(error) => found.unreadable.push((format!("{address}/{run_id}"), error)),
            }
        }
    }
    match found.runs.is_empty() && found.unreadable.is_empty() {
        true => Err(Failure::Other(format!("{address} has no checkpoints, and no run that has any"))),
        false => Ok(found),
    }
}

/// A store to read from. `None` if there is no such directory.
fn store_if_there(address: &MirrorAddress) -> Result<Option<Store>, Failure> {
    match Store::connect_to_read(address) {
        Err(Error::Mirror { failure: MirrorFailure::NotFound, .. }) => Ok(None),
        store => Ok(Some(store?)),
    }
}

/// Whether an address is that of a run, or of a mirror that has one.
fn has_runs(address: &MirrorAddress) -> Result<bool, Failure> {
    if let Ok((mirror, run_id)) = address.split_last()
        && let Some(store) = store_if_there(&mirror)?
        && store.is_run(&run_id)?
    {
        return Ok(true);
    }
    Ok(!run_addresses(address, 1)?.is_empty())
}

/// The addresses of the runs of a mirror, so many at most.
fn run_addresses(mirror: &MirrorAddress, most: usize) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let Some(store) = store_if_there(mirror)? else { return Ok(found) };
    for run_id in store.runs()? {
        if found.len() == most {
            break;
        }
        // Beside the runs there can be directories of others.
        if store.is_run(&run_id)? {
            found.push(format!("{mirror}/{run_id}"));
        }
    }
    Ok(found)
}

/// The run of an address, of which something is to be removed, and its mirror.
fn writable_run(address: &MirrorAddress) -> Result<(MirrorAddress, MirroredRun), Failure> {
    let (mirror, run_id) = address.split_last()?;
    let store = Store::connect_to_read(&mirror)?;
    if !store.is_run(&run_id)? {
        check_has_no_runs(address)?;
        return Err(not_a_run(address));
    }
    let run = MirroredRun::open(&store, &run_id)?;
    if let Some(other) = run.renamed_from() {
        let reason = "only reading them is safe: give the objects their name back";
        return Err(Failure::Other(format!("{address} has the checkpoints of the run {other}. {reason}")));
    }
    Ok((mirror, run))
}

fn not_a_run(address: &MirrorAddress) -> Failure {
    Failure::Other(format!("{address} is not a run: the mirror has nothing of it"))
}

/// Fails for the address of a mirror in the place of that of a run, and names the runs.
fn check_has_no_runs(address: &MirrorAddress) -> Result<(), Failure> {
    let mut names = run_addresses(address, usize::MAX)?;
    if names.is_empty() {
        return Ok(());
    }
    let more = match names.len().saturating_sub(SHOWN_RUNS) {
        0 => String::new(),
        more => format!(" and {more} more (burn-ckpt ls {address})"),
    };
    names.truncate(SHOWN_RUNS);
    let names = names.join(", ");
    Err(Failure::Other(format!(
        "{address} is not a run, but a directory of runs: name one of them: {names}{more}"
    )))
}

/// The addresses of checkpoints.
#[derive(Default)]
pub struct FoundCheckpoints {
    pub checkpoints: Vec<PathBuf>,
    /// Those that are not complete, each with why; and the links that cannot be read.
    pub broken: Vec<(PathBuf, Error)>,
    /// Links to missing checkpoints, with their targets.
    pub missing: Vec<(PathBuf, PathBuf)>,
    /// The addresses of runs that cannot be read, each with why.
    pub unreadable: Vec<(String, Error)>,
}

/// The checkpoints of a run, or of each run of the mirror, or the one checkpoint itself.
pub fn checkpoints_at(address: &MirrorAddress) -> Result<FoundCheckpoints, Failure> {
    let text = address.to_string();
    let last = text.rsplit('/').next().unwrap_or_default();
    let is_link = last == BEST_DIR || last == LAST_DIR || last.starts_with("best_");
    // A run can have the name of a link.
    if last.ends_with(CHECKPOINT_SUFFIX) || is_link && !has_runs(address)? {
        return Ok(FoundCheckpoints {
            checkpoints: vec![PathBuf::from(text)],
            ..FoundCheckpoints::default()
        });
    }
    let FoundRuns { runs, unreadable } = runs_at(address)?;
    let mut found = FoundCheckpoints { unreadable, ..FoundCheckpoints::default() };
    for run in runs {
        let path = |name: &str| PathBuf::from(run.address_of(name));
        found.checkpoints.extend(run.checkpoints().iter().map(|checkpoint| path(&checkpoint.name)));
        found.missing.extend(
            dangling(&run, &links(&run)?).into_iter().map(|(link, target)| (path(&link), target.into())),
        );
        found.broken.extend(run.broken_links()?.into_iter().map(|(link, error)| (path(&link), error)));
        say_what_is_lost(&run);
        let names: Vec<PathBuf> = run.broken().iter().map(|(name, _)| path(name)).collect();
        found.broken.extend(names.into_iter().zip(run.into_broken().into_iter().map(|(_, error)| error)));
    }
    Ok(found)
}
