//! The runs as a table, and as JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::metrics::json::json_number;
use crate::runs::columns::{Column, direction, same_best};
use crate::runs::progress::{MetricValues, Progress};
use crate::runs::status::StatusKind;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::{age, grouped, moment, number, size, span};
use crate::terminal::table::{Align, Cell, Table, Tone};
use crate::trainer_settings::{at, in_words};

/// Which columns are dropped first where there is no room.
pub struct Ranks<'a> {
    /// The user named the columns: the last ones are dropped first.
    pub is_chosen: bool,
    /// This one stays as long as the best value.
    pub sorted_by: Option<&'a Column>,
}

/// A row for each run.
pub fn table(runs: &[RunSummary], columns: &[Column], ranks: &Ranks<'_>) -> Table {
    let now = Timestamp::now();
    let is_text = |column: &Column| match column {
        Column::Run | Column::Status | Column::Why | Column::Tags | Column::Notes => true,
        Column::Hparam(_) | Column::Setting(_) => runs.iter().any(|run| {
            let value = run.progress.as_ref().and_then(|progress| setting(progress, column));
            value.is_some_and(|(_, value)| !value.is_number() && !value.is_null())
        }),
        Column::Best => same_best(runs).is_none(),
        _ => false,
    };
    let align = |column: &Column| if is_text(column) { Align::Left } else { Align::Right };
    let headings: Vec<(String, Align)> =
        columns.iter().map(|column| (column.heading(runs), align(column))).collect();
    let rank = |(place, column): (usize, &Column)| match ranks.is_chosen {
        true => place,
        false if ranks.sorted_by == Some(column) => column.rank().min(Column::Best.rank()),
        false => column.rank(),
    };
    let ranks = columns.iter().enumerate().map(rank);
    let mut table = Table::new(&headings).with_ranks(ranks);
    let metric = same_best(runs).map(|(metric, _)| metric);
    for run in runs {
        table.row(columns.iter().map(|column| cell(run, column, metric, now)));
    }
    table
}

fn cell(run: &RunSummary, column: &Column, metric: Option<&str>, now: Timestamp) -> Cell {
    let is_known = run.checkpoints > 0;
    let of_files = |text: String| if is_known { text } else { String::new() };
    let text = match (column, &run.progress) {
        (Column::Run, _) => run.name.clone(),
        (Column::Status, _) => return Cell::new(run.status.kind.text(), tone(run.status.kind)),
        (Column::Why, _) => run.status.why.clone(),
        (Column::Tags, _) => run.tags.tags.join(", "),
        (Column::Notes, _) => run.tags.notes.clone().unwrap_or_default(),
        (Column::Size, _) => of_files(size(run.bytes)),
        (Column::Checkpoints, _) => of_files(grouped(run.checkpoints)),
        (_, None) => String::new(),
        (Column::Epochs, Some(progress)) => match progress.max_epochs {
            Some(max) => format!("{}/{max}", progress.epochs),
            None => progress.epochs.to_string(),
        },
        (Column::Steps, Some(progress)) => progress.steps.to_string(),
        (Column::Time, Some(progress)) => span(progress.seconds),
        (Column::Speed, Some(progress)) => progress.items_per_second.map(number).unwrap_or_default(),
        (Column::Age, Some(progress)) => progress.saved.map(|saved| age(saved, now)).unwrap_or_default(),
        (Column::Started, Some(progress)) => progress.started.map(moment).unwrap_or_default(),
        (Column::Best, Some(progress)) => format!("{}{}", best(progress, metric), mark(progress)),
        (Column::Metric(name), Some(progress)) => {
            let mark = if progress.primary.as_ref() == Some(name) { mark(progress) } else { "" };
            let shown = |values: &MetricValues| format!("{}{mark}", number(values.shown()));
            progress.metrics.get(name).map(shown).unwrap_or_default()
        }
        (Column::Hparam(_) | Column::Setting(_), Some(progress)) => {
            setting(progress, column).map(|(path, setting)| in_words(path, &setting)).unwrap_or_default()
        }
    };
    Cell::from(text)
}

/// The path and the value of the column's setting.
fn setting<'a>(progress: &Progress, column: &'a Column) -> Option<(&'a str, Value)> {
    match column {
        Column::Hparam(name) => Some((name, at(&progress.hparams, name)?)),
        Column::Setting(name) => Some((name, at(&progress.settings, name)?)),
        _ => None,
    }
}

/// The best value of the metric of the column, or of the run's own with its name.
fn best(progress: &Progress, metric: Option<&str>) -> String {
    if let Some(metric) = metric {
        return progress.metrics.get(metric).map(|values| number(values.shown())).unwrap_or_default();
    }
    match progress.best() {
        None => String::new(),
        Some((metric, values)) => {
            let mode = values.best.map(|(mode, _)| mode);
            // The value first: where there is no room, the end is cut off.
            format!("{} {metric}{}", number(values.shown()), direction(mode))
        }
    }
}

/// The mark of a value that other settings gave than those of the line: a note says which.
fn mark(progress: &Progress) -> &'static str {
    if progress.best_differs().is_some() { "*" } else { "" }
}

fn tone(status: StatusKind) -> Tone {
    match status {
        StatusKind::Running => Tone::Good,
        StatusKind::Failed | StatusKind::Killed | StatusKind::Damaged | StatusKind::Unreadable => Tone::Bad,
        StatusKind::NeverSaved | StatusKind::NotARun => Tone::Faint,
        StatusKind::Done | StatusKind::Stopped | StatusKind::Unknown => Tone::Plain,
    }
}

/// Everything of every run. What is unknown is null.
pub fn as_json(runs: &[RunSummary]) -> Value {
    runs.iter().map(run_json).collect()
}

fn run_json(run: &RunSummary) -> Value {
    let progress = run.progress.as_ref();
    let checkpoint = progress.and_then(|progress| progress.best_checkpoint.as_ref());
    let origin = checkpoint.map(|best| &best.other_origin);
    let of_checkpoints = progress.filter(|progress| progress.saved.is_some());
    let best = of_checkpoints.and_then(Progress::best).map(|(metric, values)| {
        json!({
            "metric": metric,
            "mode": values.best.map(|(mode, _)| mode),
            "value": json_number(values.shown()),
            "step": checkpoint.map(|best| best.step),
            "other_settings": origin.map(|origin| origin.settings.iter().cloned().collect::<Map<_, _>>()),
            "is_trained_again": origin.map(|origin| origin.is_trained_again),
        })
    });
    let metrics = progress.map(|progress| {
        let described = |(name, values): (&String, &MetricValues)| {
            let best = values.best.map(|(_, best)| json_number(best));
            (name.clone(), json!({ "newest": json_number(values.newest), "best": best }))
        };
        progress.metrics.iter().map(described).collect::<Value>()
    });
    json!({
        "run": run.name,
        "directory": run.directory.display().to_string(),
        "status": run.status.kind.text(),
        "why": run.status.why,
        "epochs": progress.map(|progress| progress.epochs),
        "max_epochs": progress.and_then(|progress| progress.max_epochs),
        "steps": progress.map(|progress| progress.steps),
        "best": best,
        "metrics": metrics,
        "training_time_seconds": progress.map(|progress| progress.seconds),
        "items_per_second": progress.and_then(|progress| progress.items_per_second),
        "start_timestamp": progress.and_then(|progress| progress.started),
        "checkpoint_timestamp": progress.and_then(|progress| progress.saved),
        "checkpoints": run.checkpoints,
        "broken_checkpoints": run.broken,
        "size_bytes": run.bytes,
        "tags": run.tags.tags,
        "notes": run.tags.notes,
        "hparams": of_checkpoints.map(|progress| &progress.hparams),
        "trainer_config": of_checkpoints.map(|progress| &progress.settings),
        "unreadable": run.unreadable,
    })
}
