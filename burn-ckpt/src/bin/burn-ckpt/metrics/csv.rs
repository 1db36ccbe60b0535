//! `burn-ckpt csv`: all values that a run has logged, as one table, or as lines of JSON.

use std::path::PathBuf;

use burn_ckpt::RunLayout;
use burn_ckpt::metrics_log::csv::{heading, row, scope_name};
use burn_ckpt::metrics_log::time_text;
use indexmap::IndexSet;
use serde_json::{Value, json};

use crate::metrics::json::json_metrics;
use crate::metrics::names;
use crate::metrics::read::{for_each, for_each_silently};
use crate::metrics::values::Values;
use crate::runs::run_directory::run_in;
use crate::terminal::output::Output;
use crate::verb_result::VerbResult;

/// Print all metrics of a run as CSV
///
/// A row for each set of values, in the order in which they were logged: step, epoch (counted from 0), split
/// (train, valid), scope (batch, epoch, validation), batch, time, and a column for each metric. What a row
/// does not have is empty; values that are not finite are NaN, inf and -inf. Numbers have all of their
/// digits. Reads metrics.jsonl, also while the run writes it; for a run without one, as of an earlier
/// version, the epochs in its newest checkpoint. With --json each row is a line of JSON with the keys of
/// metrics.jsonl, and a key that the row does not have is absent. The speed of some lines is in the JSON
/// alone. In a file or a pipe names are as they were logged; on a terminal their control characters are
/// escaped.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only rows of this scope: the values of batches, of epochs, or of validations; may be repeated
    #[arg(long, value_name = "SCOPE", value_parser = ["batch", "epoch", "validation"])]
    scope: Vec<String>,
    /// Print a line of JSON for each row, and no CSV
    #[arg(long)]
    json: bool,
}

impl Args {
    fn is_wanted(&self, values: &Values) -> bool {
        let scope = scope_name(values.place.scope);
        self.scope.is_empty() || self.scope.iter().any(|wanted| wanted == scope)
    }
}

pub fn run(args: &Args) -> VerbResult {
    let layout = run_in(&args.run)?;
    let mut output = Output::new();
    let is_whole = match args.json {
        true => for_each(&layout, |values| match args.is_wanted(&values) {
            true => output.json_line(&json_row(&values)),
            false => Ok(()),
        })?,
        false => print_table(args, &layout, &mut output)?,
    };
    output.flush()?;
    Ok(is_whole)
}

/// Prints the table. Returns whether all could be read.
fn print_table(args: &Args, layout: &RunLayout, output: &mut Output) -> VerbResult {
    // A log can be larger than the memory, so it is read twice: for the names, and for the values.
    let (mut names, mut rows) = (IndexSet::new(), 0_u64);
    for_each_silently(layout, |values| {
        rows += 1;
        if args.is_wanted(&values) {
            names::add(&mut names, &values)?;
        }
        Ok(())
    })?;
    output.text(&heading(&names))?;
    for_each(layout, |values| {
        // Rows that came meanwhile can have other names.
        rows = match rows.checked_sub(1) {
            Some(left) => left,
            None => return Ok(()),
        };
        if !args.is_wanted(&values) {
            return Ok(());
        }
        output.text(&row(&values.place, &values.metrics, &names))
    })
}

/// A row with the keys of the log.
fn json_row(values: &Values) -> Value {
    let place = &values.place;
    let fields = [
        ("step", place.step.map(Value::from)),
        ("epoch", Some(place.epoch.into())),
        ("split", Some(json!(place.split))),
        ("scope", Some(json!(place.scope))),
        ("batch", place.batch.map(Value::from)),
        ("time", place.time.map(|time| time_text(time).into())),
        ("speed", values.speed.map(|speed| json!(speed))),
        ("metrics", Some(json_metrics(&values.metrics))),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
