//! `burn-ckpt csv`: all values that a run has logged, as one table.

use std::path::PathBuf;

use burn_ckpt::metrics_log::csv::{heading, row, scope_name};
use indexmap::IndexSet;

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
/// version, the epochs in its newest checkpoint.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only rows of this scope: the values of batches, of epochs, or of validations; may be repeated
    #[arg(long, value_name = "SCOPE", value_parser = ["batch", "epoch", "validation"])]
    scope: Vec<String>,
}

pub fn run(args: &Args) -> VerbResult {
    let layout = run_in(&args.run)?;
    let is_wanted = |values: &Values| {
        let scope = scope_name(values.place.scope);
        args.scope.is_empty() || args.scope.iter().any(|wanted| wanted == scope)
    };
    // A log can be larger than the memory, so it is read twice: for the names, and for the values.
    let (mut names, mut rows) = (IndexSet::new(), 0_u64);
    for_each_silently(&layout, |values| {
        rows += 1;
        if is_wanted(&values) {
            names::add(&mut names, &values)?;
        }
        Ok(())
    })?;
    let mut output = Output::new();
    output.bytes(heading(&names).as_bytes())?;
    let is_whole = for_each(&layout, |values| {
        // Rows that came meanwhile can have other names.
        rows = match rows.checked_sub(1) {
            Some(left) => left,
            None => return Ok(()),
        };
        if !is_wanted(&values) {
            return Ok(());
        }
        output.bytes(row(&values.place, &values.metrics, &names).as_bytes())
    })?;
    output.flush()?;
    Ok(is_whole)
}
