//! The order of the runs.

use std::cmp::Ordering;

use burn_ckpt::retention::MetricMode;
use serde_json::Value;

use crate::runs::columns::Column;
use crate::runs::progress::MetricValues;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::words;
use crate::terminal::output::say;

/// What a run is sorted by.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum SortKey {
    Number(f64),
    Text(String),
}

/// Sorts by a column: numbers from the lowest, texts by letters, metrics from the best. Runs without a value
/// come last, and equal ones keep their order.
pub fn by(runs: &mut [RunSummary], column: &Column) {
    let has_unknown_direction = runs.iter().any(|run| {
        let values = metric_of(run, column);
        values.is_some_and(|values| values.best.is_none())
    });
    if has_unknown_direction {
        say(format!(
            "note: not every run says whether lower or higher {} is better: sorted from low to high, --reverse turns that around",
            column.heading(runs)
        ));
    }
    runs.sort_by(|a, b| {
        match (key(a, column, has_unknown_direction), key(b, column, has_unknown_direction)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    });
}

/// Turns the order around. Of sorted runs, those without a value stay last.
pub fn reverse(runs: &mut [RunSummary], column: Option<&Column>) {
    let with_value = match column {
        Some(column) => runs.iter().take_while(|run| key(run, column, true).is_some()).count(),
        None => runs.len(),
    };
    runs[..with_value].reverse();
}

fn metric_of(run: &RunSummary, column: &Column) -> Option<MetricValues> {
    let progress = run.progress.as_ref()?;
    match column {
        Column::Best => progress.best().map(|(_, values)| values),
        Column::Metric(name) => progress.metrics.get(name).copied(),
        _ => None,
    }
}

/// `None` for a run without a value, and for one that is not a number.
fn key(run: &RunSummary, column: &Column, is_plain: bool) -> Option<SortKey> {
    let number = |number: f64| (!number.is_nan()).then_some(SortKey::Number(number));
    let progress = || run.progress.as_ref();
    let of_json = |json: &Value| match json {
        Value::Null => None,
        Value::Number(json) => json.as_f64().and_then(number),
        json => Some(SortKey::Text(words(json))),
    };
    match column {
        Column::Run => Some(SortKey::Text(run.name.clone())),
        Column::Status => Some(SortKey::Text(run.status.kind.text().to_owned())),
        Column::Why => (!run.status.why.is_empty()).then(|| SortKey::Text(run.status.why.clone())),
        Column::Tags => (!run.tags.tags.is_empty()).then(|| SortKey::Text(run.tags.tags.join(", "))),
        Column::Notes => run.tags.notes.clone().map(SortKey::Text),
        Column::Epochs => number(progress()?.epochs as f64),
        Column::Steps => number(progress()?.steps as f64),
        Column::Time => number(progress()?.seconds),
        Column::Speed => number(progress()?.items_per_second?),
        Column::Size => number(run.bytes as f64),
        Column::Checkpoints => number(run.checkpoints as f64),
        // The youngest first.
        Column::Age => number(-(progress()?.saved.as_millisecond() as f64)),
        Column::Started => number(progress()?.started.as_millisecond() as f64),
        Column::Hparam(name) => of_json(progress()?.hparams.get(name)?),
        Column::Setting(name) => of_json(progress()?.settings.get(name)?),
        Column::Best | Column::Metric(_) => {
            let values = metric_of(run, column)?;
            match values.best {
                Some((MetricMode::Max, best)) if !is_plain => number(-best),
                _ => number(values.shown()),
            }
        }
    }
}
