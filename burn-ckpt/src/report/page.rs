//! The page: the data of all runs as JSON, the curves as one compressed block, and the styles and scripts
//! that show them, in one file.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::compared_settings::{NAMES_AND_PLACES, NOT_OF_THE_RESULT};
use crate::metrics_log::{Scope, Split};
use crate::report::curves::{Curve, CurveName, MAX_NAMES};
use crate::report::number_block::{NumberBlock, Place, Precision};
use crate::report::run_data::RunData;
use crate::text::byte_size::size;
use crate::text::printable::without_controls;

/// The most bytes of a page, as long as the curves can be thinned that far.
const MAX_PAGE_BYTES: usize = 1_000_000;
/// The bytes that curves may have in any page: the settings of very many runs leave no room in that size.
const MIN_CURVE_BYTES: usize = 500_000;
/// The most points of a curve, at first and where a page would be too large. A chart is about 600 pixels
/// wide.
const POINTS: [usize; 5] = [2_000, 1_000, 500, 250, 100];
/// The most numbers of a page that is tried: with more it would be too large, whatever they are.
const MAX_NUMBERS: usize = 4_000_000;
/// The most curves of a page, and of a run in it. A browser draws a chart for each metric.
const MAX_CURVES: usize = 10_000;
const MAX_RUN_CURVES: usize = 500;

const PAGE: &str = include_str!("assets/page.html");
const STYLES: [&str; 2] = [include_str!("assets/uplot/uPlot.min.css"), include_str!("assets/page.css")];
/// In the order in which they use one another.
const SCRIPTS: [&str; 8] = [
    include_str!("assets/uplot/uPlot.iife.min.js"),
    include_str!("assets/format.js"),
    include_str!("assets/data.js"),
    include_str!("assets/elements.js"),
    include_str!("assets/axes.js"),
    include_str!("assets/charts.js"),
    include_str!("assets/sections.js"),
    include_str!("assets/page.js"),
];

/// A curve as the page has it.
#[derive(Serialize)]
struct SeriesData<'a> {
    name: &'a str,
    split: Split,
    scope: PageScope,
    /// Which of the run's axes.
    axis: usize,
    values: Place,
    /// How many values a logarithmic axis has no place for, also those that are thinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_logarithm: Option<usize>,
}

/// What a curve's values cover.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum PageScope {
    Logged(Scope),
    /// The time between two lines of the log that have the speed.
    Speed(&'static str),
}

/// A page, and what of the runs it does not have.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) left_out: Vec<String>,
}

/// How much of the curves a page has.
#[derive(Debug, Clone, Copy)]
struct Detail {
    points: usize,
    precision: Precision,
    /// The most curves of a run.
    curves: usize,
    /// Whether curves of single batches are among them.
    has_batches: bool,
    /// Whether it is too large all the same.
    is_large: bool,
    /// The most bytes of the page.
    max_bytes: usize,
}

impl Detail {
    /// The curves of a run that the page has: where there are too many, single batches are left out first.
    fn kept<'a>(&self, run: &'a RunData) -> impl Iterator<Item = (&'a CurveName, &'a Curve)> + use<'a> {
        let is_batch = |name: &CurveName| name.scope == Scope::Batch;
        let wholes = run.curves.of.keys().filter(|name| !is_batch(name)).count();
        let batches = if self.has_batches { self.curves.saturating_sub(wholes) } else { 0 };
        let mut left = [self.curves, batches];
        run.curves.of.iter().filter(move |(name, _)| {
            let left = &mut left[usize::from(is_batch(name))];
            let is_kept = *left > 0;
            *left = left.saturating_sub(1);
            is_kept
        })
    }

    fn numbers(&self, runs: &[&RunData]) -> usize {
        let of_run = |run: &&RunData| {
            self.kept(run).map(|(_, curve)| curve.values.len().min(self.points)).sum::<usize>()
        };
        runs.iter().map(of_run).sum()
    }

    /// What of the curves is missing.
    fn left_out(&self, runs: &[&RunData]) -> Vec<String> {
        let Self { curves, max_bytes, .. } = self;
        let max_size = size(*max_bytes as u64);
        let all: usize = runs.iter().map(|run| run.curves.of.len()).sum();
        let kept_by = |detail: &Self| -> usize { runs.iter().map(|run| detail.kept(run).count()).sum() };
        let (kept, within) = (kept_by(self), kept_by(&Self { has_batches: true, ..*self }));
        let count = runs_in_words(runs.len());
        let cut = runs.iter().filter(|run| run.curves.is_cut).count();
        let said = [
            (cut > 0).then(|| {
                format!("Of {} only the first {MAX_NAMES} curves are read.", runs_in_words(cut))
            }),
            (within < all).then(|| {
                let left = all - within;
                format!("{left} of {all} curves are left out: a page of {count} has at most {curves} of each.")
            }),
            (kept < within).then(|| {
                let left = within - kept;
                format!(
                    "{left} curves of single batches are left out: with them this page would be larger than {max_size}."
                )
            }),
            self.is_large.then(|| {
                format!(
                    "This page is larger than {max_size}, as it has {count} with {kept} curves. One of fewer runs is \
                     faster, and has more points."
                )
            }),
        ];
        said.into_iter().flatten().collect()
    }
}

/// `1 run`, `130 runs`.
fn runs_in_words(count: usize) -> String {
    format!("{count} {}", if count == 1 { "run" } else { "runs" })
}

/// The most bytes of a page of these runs.
fn max_bytes(runs: &[&RunData]) -> usize {
    let assets = STYLES.iter().chain(&SCRIPTS).map(|asset| asset.len());
    let without_curves: usize = runs.iter().map(|run| json!(run).to_string().len()).chain(assets).sum();
    MAX_PAGE_BYTES.max(without_curves + MIN_CURVE_BYTES)
}

/// The page of these runs, with as many points and digits as it has room for.
pub(super) fn html(runs: &[&RunData], written: Timestamp) -> std::io::Result<Page> {
    let curves = (MAX_CURVES / runs.len().max(1)).clamp(1, MAX_RUN_CURVES);
    let [finest, .., coarsest] = Precision::ALL;
    let max_bytes = max_bytes(runs);
    let mut detail = Detail {
        points: POINTS[0],
        precision: finest,
        curves,
        has_batches: true,
        is_large: false,
        max_bytes,
    };
    let fitting = |detail: Detail| -> std::io::Result<Option<Page>> {
        if detail.numbers(runs) > MAX_NUMBERS {
            return Ok(None);
        }
        Ok(Some(with(runs, written, detail)?).filter(|page| page.html.len() <= max_bytes))
    };
    if let Some(page) = fitting(detail)? {
        return Ok(page);
    }
    for (points, has_batches) in POINTS.map(|points| (points, true)).into_iter().chain([(POINTS[4], false)]) {
        // The coarsest first: where that is too large, all others are.
        detail = Detail { points, precision: coarsest, has_batches, ..detail };
        let Some(coarse) = fitting(detail)? else { continue };
        for precision in Precision::ALL {
            if let Some(page) = fitting(Detail { precision, ..detail })? {
                return Ok(page);
            }
        }
        return Ok(coarse);
    }
    with(runs, written, Detail { is_large: true, ..detail })
}

fn with(runs: &[&RunData], written: Timestamp, detail: Detail) -> std::io::Result<Page> {
    let mut block = NumberBlock::new(detail.precision);
    let left_out = detail.left_out(runs);
    let said: Vec<String> = rounding(runs, detail).into_iter().chain(left_out.iter().cloned()).collect();
    let mut shown: Vec<Value> = runs.iter().map(|run| with_curves(run, detail, &mut block)).collect();
    for (run, label) in shown.iter_mut().zip(labels(runs)) {
        run["label"] = without_controls(&label).into();
    }
    let data = json!({
        "written": written,
        "program": concat!("burn-ckpt ", env!("CARGO_PKG_VERSION")),
        "rounding": (!said.is_empty()).then(|| said.join(" ")),
        "not_compared": NAMES_AND_PLACES.iter().chain(&NOT_OF_THE_RESULT).collect::<Vec<_>>(),
        "runs": shown,
        "block": block.into_text()?,
    });
    // Text of a run cannot end the script element that it stands in.
    let data = data.to_string().replace('<', "\\u003c");
    let parts = [
        ("title", escaped(&title(runs))),
        ("styles", STYLES.map(without_indentation).concat()),
        ("scripts", SCRIPTS.map(without_indentation).concat()),
        ("data", data),
    ];
    Ok(Page { html: filled(PAGE, &parts), left_out })
}

/// The data of a run, with its curves as places in the block. Curves with the same steps share an axis.
fn with_curves(run: &RunData, detail: Detail, block: &mut NumberBlock) -> Value {
    let Detail { points, .. } = detail;
    let mut axes: Vec<(Vec<u64>, Place)> = Vec::new();
    let mut series = Vec::new();
    let logged = detail.kept(run).map(|(CurveName { metric, split, scope }, curve)| {
        (metric.as_str(), *split, PageScope::Logged(*scope), curve)
    });
    let speed = run.curves.speed.iter();
    let speed = speed.map(|(name, curve)| (*name, Split::Train, PageScope::Speed("speed"), curve));
    for (name, split, scope, curve) in logged.chain(speed) {
        let without_logarithm = Some(curve.without_logarithm()).filter(|count| *count > 0);
        let Curve { steps, values, .. } = curve.thinned(points);
        let known = axes.iter().position(|(known, _)| *known == steps);
        let axis = known.unwrap_or_else(|| {
            let place = block.counts(&steps);
            axes.push((steps, place));
            axes.len() - 1
        });
        let values = block.values(&values);
        series.push(SeriesData { name, split, scope, axis, values, without_logarithm });
    }
    let clock = run.curves.clock.thinned(points);
    let mut data = json!(run);
    // What turns the text around it is escaped. Names and notes can have it.
    for key in ["id", "path"] {
        data[key] = without_controls(data[key].as_str().unwrap_or_default()).into();
    }
    data["series"] = json!(series);
    data["axes"] = axes.iter().map(|(_, place)| json!(place)).collect();
    data["clock"] = json!({"steps": block.counts(&clock.steps), "seconds": block.times(&clock.values)});
    data
}

/// What each run is called: its directory's name, or the whole path where two have one name, as copies do.
fn labels(runs: &[&RunData]) -> Vec<String> {
    let name = |run: &RunData| {
        let path = Path::new(&run.path).file_name();
        path.map_or_else(|| run.id.clone(), |name| name.to_string_lossy().into_owned())
    };
    let names: Vec<String> = runs.iter().map(|run| name(run)).collect();
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let label =
        |(run, name): (&&RunData, &String)| if is_alone(name) { name.clone() } else { run.path.clone() };
    runs.iter().zip(&names).map(label).collect()
}

/// How the curves are thinned and rounded.
fn rounding(runs: &[&RunData], detail: Detail) -> Vec<String> {
    let Detail { points, precision, max_bytes, .. } = detail;
    let is_thinned =
        runs.iter().flat_map(|run| run.curves.of.values()).any(|curve| curve.values.len() > points);
    let said = [
        is_thinned.then(|| {
            format!("Of a curve with more than {points} points, the lowest and the highest of each stretch are drawn.")
        }),
        precision.digits().map(|digits| format!("Values of curves have {digits} digits, so that this page is smaller than {}.", size(max_bytes as u64))),
    ];
    said.into_iter().flatten().collect()
}

fn title(runs: &[&RunData]) -> String {
    match runs {
        [run] => run.name.clone().unwrap_or_else(|| without_controls(&run.id)),
        runs => format!("{} runs", runs.len()),
    }
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A template with each `{{name}}` replaced. What is put in is not looked at again.
fn filled(template: &str, parts: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        filled.push_str(before);
        filled.extend(parts.iter().filter(|(part, _)| *part == name).map(|(_, text)| text.as_str()));
        rest = after;
    }
    filled + rest
}

/// The lines of a script without what only its reader needs: its indentation and comments. The page has room
/// for more points then.
fn without_indentation(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}
