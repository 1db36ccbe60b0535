//! The page: the data of all runs as JSON, the curves as one compressed block, and the styles and scripts
//! that show them, in one file.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::byte_size::size;
use crate::metrics_log::{Scope, Split};
use crate::report::curves::{Curve, CurveName};
use crate::report::number_block::{NumberBlock, Place, Precision};
use crate::report::run_data::RunData;

/// The most bytes of a page, as long as the curves can be thinned that far.
pub(super) const MAX_PAGE_BYTES: usize = 1_000_000;
/// The most points of a curve, at first and where a page would be too large. A chart is about 600 pixels
/// wide.
const POINTS: [usize; 4] = [2_000, 1_000, 500, 250];

const PAGE: &str = include_str!("assets/page.html");
const STYLES: [&str; 2] = [include_str!("assets/uplot/uPlot.min.css"), include_str!("assets/page.css")];
/// In the order in which they use one another.
const SCRIPTS: [&str; 7] = [
    include_str!("assets/uplot/uPlot.iife.min.js"),
    include_str!("assets/format.js"),
    include_str!("assets/data.js"),
    include_str!("assets/elements.js"),
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
}

/// What a curve's values cover.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum PageScope {
    Logged(Scope),
    /// The time between two lines of the log that have the speed.
    Speed(&'static str),
}

/// The page of these runs, with as many points and digits as it has room for.
pub(super) fn html(runs: &[&RunData], written: Timestamp) -> std::io::Result<String> {
    let choices = POINTS.iter().flat_map(|points| Precision::ALL.map(|precision| (*points, precision)));
    let mut page = String::new();
    for (points, precision) in choices {
        page = with(runs, written, points, precision)?;
        if page.len() <= MAX_PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

fn with(
    runs: &[&RunData],
    written: Timestamp,
    points: usize,
    precision: Precision,
) -> std::io::Result<String> {
    let mut block = NumberBlock::new(precision);
    let mut shown: Vec<Value> = runs.iter().map(|run| with_curves(run, points, &mut block)).collect();
    for (run, label) in shown.iter_mut().zip(labels(runs)) {
        run["label"] = label.into();
    }
    let data = json!({
        "written": written,
        "program": concat!("burn-ckpt ", env!("CARGO_PKG_VERSION")),
        "rounding": rounding(runs, points, precision),
        "runs": shown,
        "block": block.into_text()?,
    });
    // Text of a run cannot end the script element that it stands in.
    let data = data.to_string().replace('<', "\\u003c");
    let parts = [
        ("title", escaped(&title(runs))),
        ("styles", STYLES.concat()),
        ("scripts", SCRIPTS.concat()),
        ("data", data),
    ];
    Ok(filled(PAGE, &parts))
}

/// The data of a run, with its curves as places in the block. Curves with the same steps share an axis.
fn with_curves(run: &RunData, points: usize, block: &mut NumberBlock) -> Value {
    let mut axes: Vec<(Vec<u64>, Place)> = Vec::new();
    let mut series = Vec::new();
    let logged = run.curves.of.iter().map(|(CurveName { metric, split, scope }, curve)| {
        (metric.as_str(), *split, PageScope::Logged(*scope), curve)
    });
    let speed = run.curves.speed.iter();
    let speed = speed.map(|(name, curve)| (*name, Split::Train, PageScope::Speed("speed"), curve));
    for (name, split, scope, curve) in logged.chain(speed) {
        let Curve { steps, values, .. } = curve.thinned(points);
        let known = axes.iter().position(|(known, _)| *known == steps);
        let axis = known.unwrap_or_else(|| {
            let place = block.counts(&steps);
            axes.push((steps, place));
            axes.len() - 1
        });
        series.push(SeriesData { name, split, scope, axis, values: block.values(&values) });
    }
    let clock = run.curves.clock.thinned(points);
    let mut data = json!(run);
    data["series"] = json!(series);
    data["axes"] = axes.iter().map(|(_, place)| json!(place)).collect();
    data["clock"] = json!({"steps": block.counts(&clock.steps), "seconds": block.values(&clock.values)});
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

/// What of the curves the page leaves out.
fn rounding(runs: &[&RunData], points: usize, precision: Precision) -> Option<String> {
    let is_thinned =
        runs.iter().flat_map(|run| run.curves.of.values()).any(|curve| curve.values.len() > points);
    let said = [
        is_thinned.then(|| {
            format!("Of a curve with more than {points} points, the lowest and the highest of each stretch are drawn.")
        }),
        precision.digits().map(|digits| format!("Values of curves have {digits} digits, so that this page is smaller than {}.", size(MAX_PAGE_BYTES as u64))),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(" "))
}

fn title(runs: &[&RunData]) -> String {
    match runs {
        [run] => run.name.clone().unwrap_or_else(|| run.id.clone()),
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
