//! `burn-ckpt plot`: the curves of runs, in the terminal.

mod canvas;
mod chart;
mod curves;
mod find_metrics;
mod marks;
mod style;

use std::path::{Path, PathBuf};

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::real_path;
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::metrics::json::json_number;
use crate::metrics::read::for_each;
use crate::plot::chart::Chart;
use crate::plot::curves::{Along, Curve, RunCurves};
use crate::plot::marks::SavedSteps;
use crate::plot::style::Style;
use crate::runs::run_directory::run_in;
use crate::runs::summary::RunSummary;
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::terminal::screen::Screen;
use crate::verb_result::{Failure, VerbResult};
use burn_ckpt::plumbing::near_names;

/// The most curves of a chart: more cannot be told apart.
const MAX_CURVES: usize = 12;

/// Draw metrics of a run, or of several, in the terminal
///
/// A METRIC is a name (val_loss), or what training and validation have in common (loss), of which all are
/// drawn into one chart. Without one it is what the metric that ranks the run's checkpoints is of (loss for
/// val_loss). A METRIC that is a run's directory is another run, drawn into the same charts. Of a run's
/// training the means of its epochs are drawn, or the single batches as long as there are not two epochs.
/// Values that are not finite are gaps. Reads metrics.jsonl, also while the run writes it, and without one
/// the history in the newest checkpoint.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Metrics, and more runs
    #[arg(value_name = "METRIC")]
    words: Vec<String>,
    /// What the curves are drawn along
    #[arg(long, value_enum, default_value_t = Along::Step)]
    by: Along,
    /// Draw single batches in place of the means of epochs
    #[arg(long)]
    batches: bool,
    /// Draw logarithms. Values that have none are left out
    #[arg(long)]
    log: bool,
    /// Print JSON: every point
    #[arg(long, conflicts_with = "log")]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let first = run_in(&args.run)?;
    let mut metrics = Vec::new();
    // A run that is named twice is drawn once.
    let mut layouts = IndexMap::from([(real_path(first.run_dir())?, first)]);
    for word in &args.words {
        match run_in(Path::new(word)) {
            Ok(run) => _ = layouts.entry(real_path(run.run_dir())?).or_insert(run),
            Err(_) => metrics.push(word.clone()),
        }
    }
    let layouts: Vec<RunLayout> = layouts.into_values().collect();
    if metrics.is_empty() {
        metrics.push(primary(&layouts[0])?);
    }
    let mut is_whole = true;
    let mut runs = Vec::new();
    for layout in &layouts {
        let mut found = RunCurves::new(name(layout, &layouts));
        is_whole &= for_each(layout, |values| found.add(values))?;
        runs.push(found);
    }
    let curves = curves::wanted(&runs, &metrics, args.batches, args.by)?;
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(&curves))?;
    } else {
        let single = if layouts.len() == 1 { layouts.first() } else { None };
        print(args, &curves, single, &mut output)?;
    }
    output.flush()?;
    Ok(is_whole)
}

/// The metric that ranks a run's checkpoints, without the part of its name that says of which split it is.
fn primary(run: &RunLayout) -> Result<String, Failure> {
    let progress = RunSummary::of(run.run_dir()).progress;
    let primary = progress.and_then(|progress| progress.primary);
    primary.map(|metric| near_names::bare(&metric).to_owned()).ok_or_else(|| {
        Failure::Usage(format!(
            "name a metric: {} does not say which one ranks its checkpoints",
            run.run_dir().display()
        ))
    })
}

/// What a run is called: its directory's name, or the whole path where another one has that name.
fn name(run: &RunLayout, runs: &[RunLayout]) -> String {
    match runs.iter().filter(|other| other.run_id() == run.run_id()).count() {
        1 => run.run_id().to_owned(),
        _ => run.run_dir().display().to_string(),
    }
}

/// `single`: the run, if it is the only one.
fn print(
    args: &Args,
    curves: &[Curve],
    single: Option<&RunLayout>,
    output: &mut Output,
) -> Result<(), Failure> {
    let screen = Screen::of_standard_output();
    let mut charts: IndexMap<&str, Vec<&Curve>> = IndexMap::new();
    for curve in curves {
        charts.entry(&curve.quantity).or_default().push(curve);
    }
    let saved = single.filter(|_| args.by == Along::Step).map(SavedSteps::of_run);
    let saved = saved.unwrap_or_default();
    let count = charts.len();
    for (place, (quantity, curves)) in charts.into_iter().enumerate() {
        if place > 0 {
            output.line("")?;
        }
        let drawn = &curves[..curves.len().min(MAX_CURVES)];
        let style = Style::of(screen, drawn.len());
        let chart = Chart {
            curves: drawn,
            names_runs: single.is_none(),
            along: args.by,
            is_logarithmic: args.log,
            saved: &saved,
            style,
        };
        for line in chart.lines(screen, count) {
            output.bytes(format!("{line}\n").as_bytes())?;
        }
        if !chart.has_points() {
            let reason = if args.log { "is finite and has a logarithm" } else { "is finite" };
            say(format!("note: {} is not drawn: none of its values {reason}", in_one_line(quantity)));
        }
        if curves.len() > drawn.len() {
            let (left, quantity) = (curves.len() - drawn.len(), in_one_line(quantity));
            say(format!("note: {left} more curves of {quantity} are left out: name fewer metrics or runs"));
        }
    }
    Ok(())
}

fn as_json(curves: &[Curve]) -> Value {
    let curve_json = |curve: &Curve| {
        let points = curve.points.iter().map(
            |point| json!({ "step": point.step, "epoch": point.epoch, "value": json_number(point.value) }),
        );
        json!({
            "run": curve.run,
            "metric": curve.metric,
            "scope": curve.scope,
            "points": points.collect::<Vec<Value>>(),
        })
    };
    curves.iter().map(curve_json).collect()
}
