//! `burn-ckpt log`: a run's epochs, a line each.

use std::path::PathBuf;

use burn_ckpt::metrics_log::{Scope, time_text};
use burn_ckpt::retention::MetricMode;
use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::metrics::json::json_metrics;
use crate::metrics::names;
use crate::metrics::read::for_each;
use crate::metrics::values::{Values, is_same};
use crate::runs::columns::direction;
use crate::runs::progress::BestCheckpoint;
use crate::runs::run_directory::run_in;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::{count, moment, number};
use crate::terminal::output::{Output, say};
use crate::terminal::table::{Align, Cell, Table, Tone};
use crate::verb_result::{Failure, VerbResult};
use burn_ckpt::plumbing::near_names::did_you_mean;

/// How many epochs are shown by default.
const SHOWN_EPOCHS: usize = 50;

/// List the epochs of a run with their metrics
///
/// Prints for each epoch (counted from 0) the optimizer step at its end, the metrics of its training and of
/// its last validation, which epoch is the best by the primary metric, and when it ended (UTC). The best one
/// is that of the run's best checkpoint, as ls lists it, and can be that of a validation within the epoch.
/// The epoch in progress is listed once it was validated. Of more than 50 epochs the newest are listed, and
/// the best. Reads metrics.jsonl, also while the run writes it; for a run without one, as of an earlier
/// version, the history in its newest checkpoint.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The metrics to show, in this order; by default all
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    metrics: Vec<String>,
    /// List all epochs, however many there are
    #[arg(long)]
    all: bool,
    /// Print JSON: all epochs, with all metrics
    #[arg(long, conflicts_with_all = ["metrics", "all"])]
    json: bool,
}

/// An epoch, or as much of it as was logged.
#[derive(Debug, Default)]
struct Epoch {
    step: Option<u64>,
    time: Option<Timestamp>,
    metrics: IndexMap<String, f64>,
}

impl Epoch {
    fn add(&mut self, values: Values) {
        self.step = values.place.step.or(self.step);
        self.time = values.place.time.or(self.time);
        self.metrics.extend(values.metrics);
    }
}

pub fn run(args: &Args) -> VerbResult {
    let layout = run_in(&args.run)?;
    let RunSummary { progress, not_whole, .. } = RunSummary::of(layout.run_dir());
    let ranked_by = progress.as_ref().and_then(|progress| {
        let (metric, values) = progress.best()?;
        Some((metric.to_owned(), values.best?.0))
    });
    let checkpoint = progress.and_then(|progress| progress.best_checkpoint);
    let mut epochs: IndexMap<u64, Epoch> = IndexMap::new();
    let (mut names, mut best) = (IndexSet::new(), None);
    let is_whole = for_each(&layout, |values| {
        if matches!(values.place.scope, Scope::Epoch | Scope::Validation) {
            names::add(&mut names, &values)?;
            if let Some((metric, mode)) = &ranked_by {
                best = match &checkpoint {
                    Some(checkpoint) => best.or_else(|| epoch_of(checkpoint, &values, metric)),
                    None => better(best, &values, metric, *mode),
                };
            }
            epochs.entry(values.place.epoch).or_default().add(values);
        }
        Ok(())
    })?;
    let best = best.map(|(epoch, _)| epoch);
    keep_metrics(&mut epochs, &args.metrics, &names)?;
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(&epochs, best))?;
    } else {
        let shown = if args.all { epochs.len() } else { SHOWN_EPOCHS };
        let shown = Shown { metrics: &args.metrics, epochs: shown };
        print(&epochs, best, ranked_by.as_ref(), &shown, &mut output)?;
    }
    output.flush()?;
    not_whole.say_as_note(layout.run_dir());
    if epochs.is_empty() {
        say("note: no epoch is done yet");
    } else if let (Some(checkpoint), None) = (checkpoint, best) {
        say(format!(
            "note: the best checkpoint, {} (epoch {}, {}), is of none of these epochs: the part of the run that it is of was trained again",
            checkpoint.path.display(),
            checkpoint.epoch,
            number(checkpoint.value)
        ));
    }
    Ok(is_whole)
}

/// The epoch of these values if they are those that the best checkpoint was saved with. Of a part of the run
/// that was trained again they are not in the log.
fn epoch_of(checkpoint: &BestCheckpoint, values: &Values, metric: &str) -> Option<(u64, f64)> {
    let place = &values.place;
    let is_there = place.epoch == checkpoint.epoch && place.step.is_none_or(|step| step == checkpoint.step);
    let value = values.metrics.get(metric).copied().filter(|value| is_same(*value, checkpoint.value))?;
    is_there.then_some((place.epoch, value))
}

/// The best value so far with its epoch, of equal ones the earlier. An epoch can have several validations.
fn better(best: Option<(u64, f64)>, values: &Values, metric: &str, mode: MetricMode) -> Option<(u64, f64)> {
    let Some(value) = values.metrics.get(metric).copied().filter(|value| !value.is_nan()) else {
        return best;
    };
    let is_better = best.is_none_or(|(_, best)| match mode {
        MetricMode::Min => value < best,
        MetricMode::Max => value > best,
    });
    if is_better { Some((values.place.epoch, value)) } else { best }
}

/// Keeps the values of these metrics, in this order. An error for one that the run has not logged.
fn keep_metrics(
    epochs: &mut IndexMap<u64, Epoch>,
    wanted: &[String],
    logged: &IndexSet<String>,
) -> Result<(), Failure> {
    if let Some(unknown) = wanted.iter().find(|name| !logged.contains(*name)) {
        let near = did_you_mean(unknown, logged.iter().map(String::as_str));
        let logged: Vec<&str> = logged.iter().map(String::as_str).collect();
        let logged = if logged.is_empty() { "none".to_owned() } else { logged.join(", ") };
        return Err(Failure::Other(format!(
            "no epoch of the run has the metric {unknown:?}; its metrics are {logged}{near}"
        )));
    }
    for epoch in epochs.values_mut().filter(|_| !wanted.is_empty()) {
        let of_epoch = |name: &String| Some((name.clone(), *epoch.metrics.get(name)?));
        epoch.metrics = wanted.iter().filter_map(of_epoch).collect();
    }
    Ok(())
}

/// What is shown of a run.
struct Shown<'a> {
    /// All if it is empty.
    metrics: &'a [String],
    /// So many of the newest epochs.
    epochs: usize,
}

fn print(
    epochs: &IndexMap<u64, Epoch>,
    best: Option<u64>,
    ranked_by: Option<&(String, MetricMode)>,
    shown: &Shown<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let primary = ranked_by.map(|(metric, _)| metric.as_str());
    let mut names: IndexSet<&str> = shown.metrics.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = epochs.values().flat_map(|epoch| epoch.metrics.keys()).map(String::as_str).collect();
        // The sort is stable: the others stay in the order in which they were logged.
        names.sort_by_key(|name| Some(*name) != primary);
    }
    let heading = |name: &str| match ranked_by {
        Some((metric, mode)) if metric == name => format!("{name}{}", direction(Some(*mode))),
        _ => name.to_owned(),
    };
    let mut columns = vec![("epoch".to_owned(), Align::Right), ("step".to_owned(), Align::Right)];
    columns.extend(names.iter().map(|name| (heading(name), Align::Right)));
    columns.extend([("best".to_owned(), Align::Left), ("ended".to_owned(), Align::Left)]);
    let ranks = [0, 1].into_iter().chain(2..2 + names.len()).chain([0, 2 + names.len()]);
    let mut table = Table::new(&columns).with_ranks(ranks);
    // The newest, and the best.
    let older = epochs.len().saturating_sub(shown.epochs);
    let is_shown = |place: usize, epoch: u64| place >= older || Some(epoch) == best;
    for (place, (epoch, found)) in epochs.iter().enumerate() {
        if !is_shown(place, *epoch) {
            continue;
        }
        let is_best = Some(*epoch) == best;
        let mut cells = vec![epoch.to_string(), found.step.map(|step| step.to_string()).unwrap_or_default()];
        cells.extend(
            names.iter().map(|name| found.metrics.get(*name).map(|value| number(*value)).unwrap_or_default()),
        );
        let mark = Cell::new(if is_best { "best" } else { "" }, Tone::Good);
        let ended = Cell::from(found.time.map(moment).unwrap_or_default());
        table.row(cells.into_iter().map(Cell::from).chain([mark, ended]));
    }
    let hidden = epochs.len() - table.len();
    output.table(table, 0)?;
    match hidden {
        0 => Ok(()),
        hidden => output.line(format!("and {} before (--all)", count(hidden, "epoch"))),
    }
}

fn as_json(epochs: &IndexMap<u64, Epoch>, best: Option<u64>) -> Value {
    let epoch_json = |(epoch, found): (&u64, &Epoch)| {
        json!({
            "epoch": epoch,
            "step": found.step,
            "time": found.time.map(time_text),
            "is_best": Some(*epoch) == best,
            "metrics": json_metrics(&found.metrics),
        })
    };
    epochs.iter().map(epoch_json).collect()
}
