//! `burn-ckpt csv`: all values that a run has logged, as one table.

use std::path::PathBuf;

use burn_ckpt::metrics_log::{Scope, Split};
use indexmap::IndexSet;

use crate::metrics::names;
use crate::metrics::read::for_each;
use crate::metrics::values::Values;
use crate::tag::run_at;
use crate::terminal::output::Output;
use crate::verb_result::{Failure, VerbResult};

/// The columns before those of the metrics.
const COLUMNS: [&str; 6] = ["step", "epoch", "split", "scope", "batch", "time"];

/// Print all metrics of a run as CSV
///
/// A row for each set of values, in the order in which they were logged: step, epoch (counted from 0), split
/// (train, valid), scope (batch, epoch, validation), batch, time, and a column for each metric. What a row
/// does not have is empty; values that are not finite are NaN, inf and -inf. Numbers have all of their
/// digits. Reads metrics.jsonl, also while the run writes it; for a run without one, as of an earlier
/// version, the epochs in its newest checkpoint.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only rows of this scope: the values of batches, of epochs, or of validations; may be repeated
    #[arg(long, value_name = "SCOPE", value_parser = ["batch", "epoch", "validation"])]
    scope: Vec<String>,
}

pub fn run(args: &Args) -> VerbResult {
    let layout = run_at(&args.run)?;
    let is_wanted = |values: &Values| {
        let scope = scope_name(values.scope);
        args.scope.is_empty() || args.scope.iter().any(|wanted| wanted == scope)
    };
    // A log can be larger than the memory, so it is read twice: for the names, and for the values.
    let (mut names, mut rows) = (IndexSet::new(), 0_u64);
    for_each(&layout, |values| {
        rows += 1;
        if is_wanted(&values) {
            names::add(&mut names, &values)?;
        }
        Ok(())
    })?;
    let mut output = Output::new();
    let heading = COLUMNS.into_iter().chain(names.iter().map(String::as_str)).map(field);
    output.bytes(line(heading).as_bytes())?;
    let is_whole = for_each(&layout, |values| {
        // Rows that came meanwhile can have other names.
        rows = match rows.checked_sub(1) {
            Some(left) => left,
            None => return Ok(()),
        };
        if is_wanted(&values) { output.bytes(row(&values, &names)?.as_bytes()) } else { Ok(()) }
    })?;
    output.flush()?;
    Ok(is_whole)
}

fn row(values: &Values, names: &IndexSet<String>) -> Result<String, Failure> {
    let whole = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let split = match values.split {
        Split::Train => "train",
        Split::Valid => "valid",
        _ => "",
    };
    let mut fields = vec![
        whole(values.step),
        values.epoch.to_string(),
        split.to_owned(),
        scope_name(values.scope).to_owned(),
        whole(values.batch),
        values.time.map(|time| time.to_string()).unwrap_or_default(),
    ];
    fields.extend(names.iter().map(|name| values.metrics.get(name).copied().map(number).unwrap_or_default()));
    Ok(line(fields.into_iter()))
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Batch => "batch",
        Scope::Epoch => "epoch",
        Scope::Validation => "validation",
        _ => "",
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
    fn numbers_have_all_of_their_digits_and_what_is_not_finite_its_name() {
        let shown = [0.1 + 0.2, 1e300, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(number);
        assert_eq!(shown, ["0.30000000000000004", "1e+300", "2.0", "NaN", "inf", "-inf"]);
    }

    #[test]
    fn names_with_commas_and_quotation_marks_are_one_field() {
        assert_eq!(["a", "a,b", "a\"b"].map(field), ["a", "\"a,b\"", "\"a\"\"b\""]);
    }
}
