//! The numbers along the axes of a chart: they are the values, no two are the same, and none is cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, stdout};

use super::page::report;

/// A text as it was drawn beside an axis, where it ends, and how wide the drawing is.
#[derive(Debug, Deserialize)]
struct Drawn {
    text: String,
    /// `right` beside the axis of values, `center` below that of steps.
    align: String,
    left: f64,
    right: f64,
    width: f64,
}

/// Draws each chart again, and notes what is written in it.
const DRAWN: &str = "async () => {
    const charts = new Map();
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
      const wide = this.measureText(text).width;
      const left = this.textAlign === 'right' ? x - wide : this.textAlign === 'center' ? x - wide / 2 : x;
      const name = this.canvas.closest('.chart').querySelector('h3').textContent;
      if (!charts.has(name)) charts.set(name, []);
      charts.get(name).push({ text, align: this.textAlign, left, right: left + wide, width: this.canvas.width });
      draw.call(this, text, x, y);
    };
    const along = [...document.querySelectorAll('input[name=along]')];
    along[0].checked = true;
    along[0].dispatchEvent(new Event('change'));
    await new Promise((done) => setTimeout(done, 100));
    return [...charts];
  }";

/// A run with a log alone.
fn logged(root: &Path, metrics: &[(&str, &[f64])]) -> PathBuf {
    let run = root.join("r");
    fs::create_dir_all(&run).unwrap();
    let mut text = "{\"format\":\"burn-ckpt metrics\",\"version\":1,\"run_id\":\"r\"}\n".to_owned();
    for epoch in 0..metrics[0].1.len() {
        let values: serde_json::Map<String, Value> =
            metrics.iter().map(|(name, values)| ((*name).to_owned(), json!(values[epoch]))).collect();
        let step = 45 * (epoch + 1);
        let line =
            json!({"step": step, "epoch": epoch, "split": "valid", "scope": "validation", "metrics": values});
        text.push_str(&format!("{line}\n"));
    }
    fs::write(run.join("metrics.jsonl"), text).unwrap();
    run
}

/// The number that a text beside an axis says.
fn number(text: &str) -> f64 {
    let units = [("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    let unit = units.iter().find_map(|(name, factor)| Some((text.strip_suffix(name)?, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1.0));
    digits.parse::<f64>().unwrap_or_else(|_| panic!("{text} is not a number")) * factor
}

#[test]
fn the_numbers_of_an_axis_are_evenly_spaced_as_their_lines_are_and_none_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let ranges: [(&str, &[f64]); 9] = [
        ("rate", &[3e-4, 2.4e-4, 1.2e-4, 5.6e-5]),
        ("narrow", &[1234.0, 1234.1, 1234.5, 1234.2]),
        ("near100", &[99.99, 99.992, 99.994, 99.995]),
        ("large", &[100_000.1, 100_000.2, 100_000.4, 100_000.35]),
        ("billions", &[5e9, 25e9, 1e10, 2e10]),
        ("small", &[0.00124, 0.00126, 0.00125, 0.00129]),
        ("negative", &[-0.5, -0.25, 0.1, 0.3]),
        ("huge", &[1e300, 2e300, -1e300, 5e299]),
        ("tiny", &[1e-300, 2e-300, 3e-300, 2e-300]),
    ];
    let answer = browser::ask(&report(root.path(), &[&logged(root.path(), &ranges)]), DRAWN);
    let charts: Vec<(String, Vec<Drawn>)> = serde_json::from_value(answer).unwrap();
    assert_eq!(charts.len(), ranges.len());
    for (name, texts) in &charts {
        let (_, values) = ranges.iter().find(|(range, _)| range == name).unwrap();
        assert!(texts.iter().all(|text| text.left >= 0.0 && text.right <= text.width), "{name}: {texts:?}");
        let of = |align: &str| -> Vec<f64> {
            texts.iter().filter(|text| text.align == align).map(|text| number(&text.text)).collect()
        };
        let between =
            |numbers: &[f64]| -> Vec<f64> { numbers.windows(2).map(|pair| pair[1] - pair[0]).collect() };
        let is_even = |lines: &[f64]| lines.iter().all(|line| (line / lines[0] - 1.0).abs() < 0.02);
        let (shown, steps) = (of("right"), of("center"));
        let (lines, columns) = (between(&shown), between(&steps));
        assert!(lines.len() >= 2 && lines[0] > 0.0 && is_even(&lines), "{name}: {texts:?}");
        assert!(columns.len() >= 2 && columns[0] > 0.0 && is_even(&columns), "{name}: {texts:?}");
        let (low, high) = (shown[0], shown[shown.len() - 1]);
        let is_inside = |value: &&f64| low - lines[0] < **value && **value < high + lines[0];
        assert_eq!(values.iter().filter(is_inside).count(), values.len(), "{name}: {texts:?}");
    }
}

#[test]
fn values_that_a_logarithmic_axis_has_no_place_for_are_counted_as_the_verb_plot_counts_them() {
    let root = tempfile::tempdir().unwrap();
    // More values than are drawn of a curve.
    let long: Vec<f64> = (0..5_000).map(|epoch| if epoch % 3 == 0 { -1.0 } else { 1.0 }).collect();
    let short: Vec<f64> = (0..5_000).map(f64::from).collect();
    let metrics: [(&str, &[f64]); 4] = [
        ("val_loss", &long),
        ("train_loss", &short),
        ("positive", &vec![0.5; 5_000]),
        ("none", &vec![0.0; 5_000]),
    ];
    let run = logged(root.path(), &metrics);
    let answer = browser::ask(
        &report(root.path(), &[&run]),
        "async () => {
           const notes = () => [...document.querySelectorAll('.chart')].map((chart) => [chart.querySelector('h3').textContent,
             [...chart.querySelectorAll(':scope > p')].filter((note) => !note.hidden).map((note) => note.textContent)]);
           const plain = notes();
           const log = [...document.querySelectorAll('.controls label')].find((label) => label.textContent.includes('logarithmic'));
           log.querySelector('input').click();
           return { plain, log: notes() };
         }",
    );
    let notes = |key: &str| -> BTreeMap<String, Vec<String>> {
        let notes: Vec<(String, Vec<String>)> = serde_json::from_value(answer[key].clone()).unwrap();
        notes.into_iter().collect()
    };
    assert!(notes("plain").values().all(Vec::is_empty), "{answer}");
    let log = notes("log");
    assert_eq!(log["loss"], ["values without a logarithm: val_loss (1,667), train_loss (1)"]);
    // That a chart is empty is said in its place.
    assert!(log["positive"].is_empty() && log["none"].is_empty(), "{answer}");
    let plot = stdout(&burn_ckpt(&[&"plot", &run, &"loss", &"--log"]));
    assert!(plot.contains("1667 without a logarithm") && plot.contains(" 1 without a logarithm"), "{plot}");
}
