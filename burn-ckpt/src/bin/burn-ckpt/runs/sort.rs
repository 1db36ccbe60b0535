//! The order of the runs.

use std::cmp::Ordering;

use burn_ckpt::retention::MetricMode;
use serde_json::{Map, Value};

use crate::runs::columns::Column;
use crate::runs::progress::MetricValues;
use crate::runs::summary::RunSummary;
use crate::terminal::figures::count;
use crate::terminal::output::say;
use crate::trainer_settings::{at, in_words};

/// What a run is sorted by.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum SortKey {
    Number(f64),
    Text(String),
    Name(Vec<NamePart>),
}

/// A part of a name. Numbers in names are sorted by their values: `r2` before `r10`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamePart {
    /// Its digits without leading zeros, after their number.
    Number(usize, String),
    Text(String),
}

/// The parts of a name, in their order.
pub fn name_parts(name: &str) -> Vec<NamePart> {
    let (mut parts, mut rest) = (Vec::new(), name);
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let digits = part.trim_start_matches('0');
        parts.push(match is_digit {
            true => NamePart::Number(digits.len(), digits.to_owned()),
            false => NamePart::Text(part.to_owned()),
        });
        rest = after;
    }
    parts
}

/// How the values of a metric are sorted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// Each run's from its best one. One that does not say a direction has that of the others, if they all
    /// say the same.
    FromBest(Option<MetricMode>),
    /// From low to high.
    Plain,
}

/// Sorts by a column: numbers from the lowest, texts by letters, metrics from the best. Runs without a value
/// come last, and equal ones keep their order.
pub fn by(runs: &mut [RunSummary], column: &Column) {
    let order = order(runs, column);
    runs.sort_by(|a, b| match (key(a, column, order), key(b, column, order)) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
}

/// The order of a column, and a note where not every run says it.
fn order(runs: &[RunSummary], column: &Column) -> Order {
    let values = || runs.iter().filter_map(|run| metric_of(run, column));
    let mut modes = values().filter_map(|values| values.best.map(|(mode, _)| mode));
    let first = modes.next();
    // Runs that rank by different metrics can have different directions.
    let differ = modes.any(|mode| Some(mode) != first);
    let silent = values().filter(|values| values.best.is_none()).count();
    let heading = || column.heading(runs);
    match first.filter(|_| !differ) {
        _ if silent == 0 && (!differ || matches!(column, Column::Best)) => Order::FromBest(None),
        Some(mode) => {
            let better = if mode == MetricMode::Min { "lower" } else { "higher" };
            let say_it = if silent == 1 { "does" } else { "do" };
            say(format!(
                "note: {} {say_it} not say whether lower or higher is better: sorted as the others say, {better} {} is better",
                count(silent, "run"),
                heading()
            ));
            Order::FromBest(Some(mode))
        }
        None => {
            let why = if differ { "the runs say differently" } else { "no run says" };
            say(format!(
                "note: {why} whether lower or higher {} is better: sorted from low to high, --reverse turns that around",
                heading()
            ));
            Order::Plain
        }
    }
}

/// Turns the order around. Of sorted runs, those without a value stay last.
pub fn reverse(runs: &mut [RunSummary], column: Option<&Column>) {
    let with_value = match column {
        Some(column) => runs.iter().take_while(|run| key(run, column, Order::Plain).is_some()).count(),
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
fn key(run: &RunSummary, column: &Column, order: Order) -> Option<SortKey> {
    let number = |number: f64| (!number.is_nan()).then_some(SortKey::Number(number));
    let progress = || run.progress.as_ref();
    let of_json = |path: &str, values: &Map<String, Value>| match at(values, path)? {
        Value::Null => None,
        Value::Number(json) => json.as_f64().and_then(number),
        json => Some(SortKey::Text(in_words(path, &json))),
    };
    match column {
        Column::Run => Some(SortKey::Name(name_parts(&run.name))),
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
        Column::Age => number(-(progress()?.saved?.as_millisecond() as f64)),
        Column::Started => number(progress()?.started?.as_millisecond() as f64),
        Column::Hparam(name) => of_json(name, &progress()?.hparams),
        Column::Setting(name) => of_json(name, &progress()?.settings),
        Column::Best | Column::Metric(_) => {
            let values = metric_of(run, column)?;
            let mode = match order {
                Order::FromBest(of_others) => values.best.map(|(mode, _)| mode).or(of_others),
                Order::Plain => None,
            };
            number(if mode == Some(MetricMode::Max) { -values.shown() } else { values.shown() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_sorted_by_their_values() {
        let sorted =
            ["7", "a", "r1", "r1-b", "r2", "r02-a", "r10", "r10a2", "r10a11", "r99999999999999999999999"];
        for pair in sorted.windows(2) {
            assert!(name_parts(pair[0]) < name_parts(pair[1]), "{pair:?}");
        }
        assert_eq!(name_parts(""), []);
    }
}
