//! `burn-ckpt prune` of an address: removes checkpoints of a run in a mirror by rules that say which stay.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use burn_ckpt::mirror::{MirrorAddress, MirrorKeep, MirroredCheckpoint, MirroredRun, Removed, Store};
use burn_ckpt::retention::MetricMode;
use burn_ckpt::{Checkpoint, Error, chain};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::ls::metric_mode::{configured_mode, noted_mode};
use crate::ls::metrics::unknown_metric;
use crate::mirror::condition::{directory, links};
use crate::mirror::{check_has_no_runs, not_a_run, with_lease, writable_run};
use crate::prune::check_whole::check_whole;
use crate::prune::rules::{Rule, choose_mode};
use crate::terminal::figures::{count, size};
use crate::terminal::output::{Output, say};
use crate::verb_result::{Failure, VerbResult};

/// Content without a commit object can be an upload in progress while it is younger.
const LEFTOVER_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Removes the checkpoints of a run that no rule keeps.
pub fn run(
    address: &MirrorAddress,
    rules: &[Rule],
    mode: Option<MetricMode>,
    dry_run: bool,
    as_json: bool,
) -> VerbResult {
    let (mirror, run) = writable_run(address)?;
    if run.is_empty() {
        return Err(not_a_run(address));
    }
    if run.checkpoints().is_empty() && run.broken().is_empty() {
        check_has_no_runs(address)?;
    }
    let keep = keep(rules, mode, &run)?;
    // As they are before anything is removed: an error here costs nothing.
    let links = links(&run)?;
    let mut output = Output::new();
    let names = run.would_remove(&keep)?;
    if !names.is_empty() {
        let stay = run.checkpoints().iter().filter(|checkpoint| !names.contains(&checkpoint.name));
        let stay: Vec<PathBuf> = stay.map(|stays| run.address_of(&stays.name).into()).collect();
        check_whole(&stay, "send damaged checkpoints again with burn-ckpt mirror")?;
    }
    let (names, freed, failure) = if dry_run {
        let freed = would_free(&run, &names).iter().map(|(_, bytes)| bytes).sum();
        (names, freed, None)
    } else {
        let mut removed = Removed::default();
        let outcome = with_lease(
            &Store::connect(&mirror)?,
            run.run_id(),
            |_| Ok(()),
            |mirror| {
                mirror.apply_retention_counted(&keep, &mut removed)?;
                removed.bytes += mirror.remove_leftovers(LEFTOVER_AGE)?.bytes;
                Ok(())
            },
        );
        (removed.checkpoints, removed.bytes, outcome.err())
    };
    // What was removed before an error is gone, and is printed.
    if as_json {
        output.json(&plan_json(&run, &names, &links, dry_run))?;
    } else {
        names.iter().try_for_each(|name| output.line(name))?;
    }
    output.flush()?;
    let verb = if dry_run { "would be removed" } else { "removed" };
    let leftovers = if dry_run { ", besides what killed uploads left" } else { "" };
    say(format!("{} {verb}, {} freed{leftovers}", count(names.len(), "checkpoint"), size(freed)));
    failure.map_or(Ok(true), Err)
}

/// The checkpoints that are removed, each with the bytes that are freed. Two names of a state share their
/// objects.
fn would_free<'a>(run: &'a MirroredRun, removed: &[String]) -> Vec<(&'a MirroredCheckpoint, u64)> {
    let (gone, kept): (Vec<&MirroredCheckpoint>, Vec<&MirroredCheckpoint>) =
        run.checkpoints().iter().partition(|checkpoint| removed.contains(&checkpoint.name));
    let mut counted: HashSet<&str> =
        kept.iter().flat_map(|checkpoint| &checkpoint.files).map(|file| file.object.as_str()).collect();
    let freed = gone.into_iter().map(|checkpoint| {
        let files = checkpoint.files.iter().filter(|file| counted.insert(&file.object));
        (checkpoint, files.map(|file| file.size).sum())
    });
    freed.collect()
}

/// As `prune` prints it on disk.
fn plan_json(
    run: &MirroredRun,
    removed: &[String],
    links: &BTreeMap<String, Vec<String>>,
    dry_run: bool,
) -> Value {
    let kept = run.checkpoints().iter().filter(|checkpoint| !removed.contains(&checkpoint.name));
    let names_of = |checkpoint: &MirroredCheckpoint| links.get(&checkpoint.name).cloned().unwrap_or_default();
    json!({
        "directory": directory(run),
        "dry_run": dry_run,
        "removed": would_free(run, removed)
            .into_iter()
            .map(|(checkpoint, freed)| json!({ "file": checkpoint.name, "freed_bytes": freed }))
            .collect::<Vec<_>>(),
        "kept": kept
            .map(|checkpoint| json!({ "file": checkpoint.name, "links": names_of(checkpoint) }))
            .collect::<Vec<_>>(),
        "broken": run
            .broken()
            .iter()
            .map(|(name, error)| json!({ "file": name, "problem": chain(error) }))
            .collect::<Vec<_>>(),
    })
}

/// The rules of the command line as those of a mirror.
fn keep(rules: &[Rule], mode: Option<MetricMode>, run: &MirroredRun) -> Result<MirrorKeep, Failure> {
    let mut last = 0;
    for rule in rules {
        if let Rule::Last(count) = rule {
            last = last.max(count.get());
        }
    }
    // The newest one always stays.
    let mut keep = MirrorKeep::last(last.max(1));
    for rule in rules {
        if let Rule::Best { metric, count, mode: own } = rule {
            let known = || run.checkpoints().iter().flat_map(|checkpoint| checkpoint.metrics.keys());
            if !known().any(|name| name == metric) {
                return Err(unknown_metric(metric, known()));
            }
            let mode = choose_mode(metric, own.or(mode), mode_of_run(run, metric)?)?;
            keep = keep.and_best(metric, mode, count.get());
        }
    }
    Ok(keep)
}

/// In which direction a metric is better, as the newest checkpoint of the mirror says that says it. What
/// cannot be read of one says nothing.
fn mode_of_run(run: &MirroredRun, metric: &str) -> Result<Option<MetricMode>, Failure> {
    for checkpoint in run.checkpoints().iter().rev() {
        let stated = || {
            let checkpoint = Checkpoint::open(run.address_of(&checkpoint.name))?;
            let state = checkpoint.trainer_state().unwrap_or_default();
            let config = checkpoint.metadata()?.trainer_config;
            Ok(noted_mode(&state, metric).or_else(|| configured_mode(&config, metric)))
        };
        match stated() {
            Err(error @ Error::Mirror { .. }) => return Err(error.into()),
            Ok(Some(mode)) => return Ok(Some(mode)),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}
