//! `burn-ckpt mirror`: sends the checkpoints of a run to an object store.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use burn_ckpt::mirror::{
    DiskHistory, MirrorAddress, MirroredRun, RunMirror, Store, begin_on_disk, forks_in_words,
};
use burn_ckpt::plumbing::stat;
use burn_ckpt::{Catalog, CatalogEntry, RunLayout, chain};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::mirror::outcome::{Outcome, failed, summary};
use crate::mirror::with_lease;
use crate::runs::run_directory::run_with_checkpoints;
use crate::terminal::output::{Output, say};
use crate::verb_result::{Failure, VerbResult};

/// What is said of a checkpoint that was sent.
const SENT: &str = "sent";

/// Send the checkpoints of a run to an object store
///
/// The newest first, each with its part of the log of metrics and its evaluations, then the links. What is
/// there already is not sent. A file is compared with its digest while it is read; one that is damaged is
/// named and not sent. Credentials come from the environment (AWS_ACCESS_KEY_ID, ..). Prints one line per
/// checkpoint. Exit status 1 if one could not be sent.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// s3://BUCKET/PREFIX, gs://.., az://.. or file:///DIRECTORY; the run is sent to RUN_ID below it
    // As text: the parser of the command line would repeat what is invalid, which can have a credential.
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let address: MirrorAddress =
        args.address.parse().map_err(|error: burn_ckpt::Error| Failure::Usage(chain(&error)))?;
    let run = run_with_checkpoints(&args.run)?;
    // In directories outside of the run's own too.
    let catalog = Catalog::scan(&run)?;
    address.check_is_apart_from(&run)?;
    let store = Store::connect(&address)?;
    store.check_is_not_a_run()?;
    let begin = begin_on_disk(&run, &catalog);
    let mut output = Output::new();
    let mut outcomes = Vec::new();
    let is_same_run = |mirrored: &MirroredRun| mirrored.check_is_run_on_disk(begin);
    let done = with_lease(&store, run.run_id(), is_same_run, |mirror| {
        send_all(mirror, &run, &catalog, &mut outcomes, (!args.json).then_some(&mut output))
    });
    // What was sent before an error is there, and is printed.
    if args.json {
        output.json(&Value::from(outcomes.iter().map(as_json).collect::<Vec<_>>()))?;
    }
    output.flush()?;
    say(format!("mirror {address}/{}: {}", run.run_id(), summary(&outcomes, SENT)));
    done.map(|()| failed(&outcomes) == 0 && !outcomes.is_empty())
}

/// Sends the checkpoints, the rest of the log and the links, and adds what became of each checkpoint.
/// `lines`: where each has its line.
fn send_all(
    mirror: &mut RunMirror,
    run: &RunLayout,
    catalog: &Catalog,
    outcomes: &mut Vec<Outcome>,
    mut lines: Option<&mut Output>,
) -> Result<(), Failure> {
    // Before what is sent takes their names.
    if let Some(said) = forks_in_words(&mirror.keep_forks(&DiskHistory::of(catalog))?) {
        say(format!("note: the mirror {said}"));
    }
    let mut outside: HashMap<&OsStr, &CatalogEntry> = HashMap::new();
    for entry in catalog.entries.iter().rev() {
        let name = entry.path.file_name().unwrap_or_default();
        let is_outside = !entry.path.starts_with(run.checkpoint_dir());
        let outcome = match outside.get(name).filter(|_| is_outside) {
            // The same state, in the directory of another strategy.
            Some(newer) if state(newer) == state(entry) => continue,
            Some(newer) => hidden(entry, newer),
            None => send(mirror, run, &entry.path),
        };
        if is_outside {
            outside.entry(name).or_insert(entry);
        }
        if let Some(output) = &mut lines {
            output.line(outcome.line(SENT))?;
            output.flush()?;
        }
        outcomes.push(outcome);
    }
    for (path, error) in &catalog.broken {
        let name = path.display().to_string();
        let outcome = Outcome::failed(name, chain(error));
        if let Some(output) = &mut lines {
            output.line(outcome.line(SENT))?;
        }
        outcomes.push(outcome);
    }
    // A log that cannot be sent keeps no link back.
    let (logged, moved) = (send_log(mirror, run), mirror.send_links(run));
    if let (Err(error), Err(_)) = (&logged, &moved) {
        say(format!("error: {}", chain(error)));
    }
    moved?;
    logged
}

fn state(entry: &CatalogEntry) -> (Timestamp, u64) {
    (entry.metadata.checkpoint_timestamp, entry.metadata.global_step)
}

/// What becomes of a checkpoint whose name in the mirror is that of a newer one in another directory.
fn hidden(entry: &CatalogEntry, newer: &CatalogEntry) -> Outcome {
    let problem = format!("its name in the mirror is that of {}, which is newer", newer.path.display());
    let name = entry.path.display().to_string();
    Outcome::failed(name, problem)
}

fn send(mirror: &mut RunMirror, run: &RunLayout, path: &std::path::Path) -> Outcome {
    match mirror.send(run, path, &|_| Ok(())) {
        Ok(sent) => Outcome { name: sent.name, bytes: sent.bytes, was_there: sent.was_there, problem: None },
        Err(error) => {
            let name = path.display().to_string();
            Outcome::failed(name, chain(&error))
        }
    }
}

/// Sends the lines behind the newest checkpoint.
fn send_log(mirror: &mut RunMirror, run: &RunLayout) -> Result<(), Failure> {
    let log = run.run_dir().join(burn_ckpt::metrics_log::METRICS_FILE);
    match stat(&log)? {
        Some(stat) if stat.is_file() => Ok(mirror.send_metrics_log(&log)?),
        _ => Ok(()),
    }
}

fn as_json(outcome: &Outcome) -> Value {
    json!({
        "file": outcome.name,
        "bytes_sent": outcome.bytes,
        "was_there": outcome.was_there,
        "problem": outcome.problem,
    })
}
