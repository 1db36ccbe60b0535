//! A page stays small: numbers are rounded and curves thinned, which the page says.

use std::fmt::Write;
use std::path::Path;

use system_tests::programs::browser;
use system_tests::random::SplitMix64;
use system_tests::run_files::run_dir;
use system_tests::{config, train};

use super::page::{copies, report, shown};

/// The most bytes that a page of 10 runs with 20 metrics of 2,000 points may have.
const MAX_BYTES: u64 = 1_000_000;

/// Replaces a run's log with one of noise, the worst case of a compression, and returns the values of its
/// first metric.
fn write_noise(run: &Path, metrics: usize, lines: usize, seed: u64) -> Vec<f64> {
    let path = run.join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let mut text = format!("{}\n", log.lines().next().unwrap());
    let mut random = SplitMix64::new(seed);
    let mut first = Vec::new();
    for step in 1..=lines {
        let values: Vec<f64> = (0..metrics).map(|_| random.below(1 << 40) as f64 / 1e12 + 0.1).collect();
        first.push(values[0]);
        let shown: Vec<String> =
            values.iter().enumerate().map(|(metric, value)| format!("\"train_m{metric}\":{value}")).collect();
        writeln!(
            text,
            "{{\"step\":{step},\"epoch\":0,\"split\":\"train\",\"scope\":\"batch\",\"batch\":{step},\"metrics\":{{{}}}}}",
            shown.join(",")
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
    first
}

#[test]
fn ten_runs_of_twenty_metrics_and_two_thousand_points_are_a_megabyte() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let runs = copies(root.path(), 10);
    let mut expected = Vec::new();
    for (seed, run) in (1..).zip(&runs) {
        expected = write_noise(run, 20, 2_000, seed);
    }
    let paths: Vec<&Path> = runs.iter().map(AsRef::as_ref).collect();
    let page = report(root.path(), &paths);
    assert!(page.metadata().unwrap().len() <= MAX_BYTES, "{} bytes", page.metadata().unwrap().len());
    let answer = browser::ask(
        &page,
        "async () => {
           const data = await readData();
           const series = data.runs.at(-1).series.find(({ name }) => name === 'train_m0');
           return { values: series.values, said: document.querySelector('#curves .note').textContent };
         }",
    );
    let values: Vec<f64> = serde_json::from_value(answer["values"].clone()).unwrap();
    assert_eq!(values.len(), 2_000, "no point is left out");
    let said = answer["said"].as_str().unwrap();
    assert!(said.starts_with("Values of curves have 3 digits"), "{said}");
    for (value, expected) in values.iter().zip(&expected) {
        assert!((value - expected).abs() <= 1e-3 * expected, "{value} is not {expected}");
    }
}

#[test]
fn a_long_curve_is_thinned_and_keeps_its_extremes() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let expected = write_noise(&run, 2, 100_000, 7);
    let page = report(root.path(), &[&run]);
    assert!(page.metadata().unwrap().len() <= MAX_BYTES);
    let curves = shown(&page).remove("r1").unwrap();
    let curve = &curves[&["train_m0".to_owned(), "train".to_owned(), "batch".to_owned()]];
    assert!((1_000..=2_000).contains(&curve.len()), "{}", curve.len());
    let extreme = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let values = |step: u64| expected[usize::try_from(step).unwrap() - 1];
    assert_eq!(
        extreme(&mut curve.iter().map(|(step, _)| values(*step))),
        extreme(&mut expected.iter().copied())
    );
    assert!(std::fs::read_to_string(&page).unwrap().contains("with more than 2000 points"));
}
