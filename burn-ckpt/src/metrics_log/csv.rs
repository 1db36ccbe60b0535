//! The lines of a log as CSV: `burn-ckpt csv` prints it, and burn-trainer's CSV tracker writes it.

use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;

use super::line::{Line, Scope, Split, time_text};

/// The columns before those of the metrics.
const COLUMNS: [&str; 6] = ["step", "epoch", "split", "scope", "batch", "time"];

/// How each table begins.
#[must_use]
pub fn heading_start() -> String {
    COLUMNS.join(",")
}

/// The first line, with columns for these metrics.
#[must_use]
pub fn heading(metrics: &IndexSet<String>) -> String {
    line(COLUMNS.into_iter().chain(metrics.iter().map(String::as_str)).map(field))
}

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub struct RowPlace {
    /// `None` in a history that does not say it.
    pub step: Option<u64>,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The data.
    pub split: Split,
    /// How much of it.
    pub scope: Scope,
    /// The batch, counted from 1.
    pub batch: Option<u64>,
    /// When the values were logged.
    pub time: Option<Timestamp>,
}

impl From<&Line> for RowPlace {
    fn from(line: &Line) -> Self {
        let Line { step, epoch, split, scope, batch, time, .. } = *line;
        Self { step: Some(step), epoch, split, scope, batch, time }
    }
}

/// A row, with a field for each column of the metrics.
#[must_use]
pub fn row(place: &RowPlace, values: &IndexMap<String, f64>, metrics: &IndexSet<String>) -> String {
    let whole = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut fields = vec![
        whole(place.step),
        place.epoch.to_string(),
        split_name(place.split).to_owned(),
        scope_name(place.scope).to_owned(),
        whole(place.batch),
        place.time.map(time_text).unwrap_or_default(),
    ];
    fields.extend(metrics.iter().map(|name| values.get(name).copied().map(number).unwrap_or_default()));
    line(fields.into_iter())
}

/// The name of a scope.
#[must_use]
pub fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Batch => "batch",
        Scope::Epoch => "epoch",
        Scope::Validation => "validation",
    }
}

fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Valid => "valid",
    }
}

/// With as few digits as give the same number again.
fn number(value: f64) -> String {
    match serde_json::Number::from_f64(value) {
        Some(number) => number.to_string(),
        None => value.to_string(),
    }
}

/// A text as RFC 4180 has it: in quotation marks if it has a comma, one of them, or a line break.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn line(fields: impl Iterator<Item = String>) -> String {
    fields.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_three_digits_of_a_second_as_in_the_log() {
        for time in ["2026-11-29T02:00:01.000Z", "2026-11-29T02:00:01.100Z", "2026-11-29T02:00:01.123Z"] {
            let place = RowPlace {
                step: Some(1),
                epoch: 0,
                split: Split::Train,
                scope: Scope::Epoch,
                batch: None,
                time: Some(time.parse().unwrap()),
            };
            let row = row(&place, &IndexMap::new(), &IndexSet::new());
            assert_eq!(row.trim_end().rsplit(',').next(), Some(time));
        }
    }

    #[test]
    fn numbers_have_all_of_their_digits_and_what_is_not_finite_its_name() {
        let shown = [0.1 + 0.2, 1e300, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(number);
        assert_eq!(shown, ["0.30000000000000004", "1e+300", "2.0", "NaN", "inf", "-inf"]);
    }

    #[test]
    fn names_with_commas_and_quotation_marks_are_one_field() {
        assert_eq!(["a", "a,b", "a\"b"].map(field), ["a", "\"a,b\"", "\"a\"\"b\""]);
    }
}
