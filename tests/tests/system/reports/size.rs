//! A page stays small: numbers are rounded and curves thinned, which the page says.

use std::fmt::Write;
use std::path::Path;

use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, ended_with};
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
fn the_settings_of_many_runs_leave_their_curves_room() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_notes("n".repeat(4_000))).unwrap();
    let runs = copies(root.path(), 100);
    runs.iter().for_each(|run| drop(write_noise(run, 1, 1_000, 7)));
    let paths: Vec<&Path> = runs.iter().map(AsRef::as_ref).collect();
    let page = report(root.path(), &paths);
    let counts = browser::ask(
        &page,
        "async () => (await readData()).runs.map((run) => run.series.find(({ name }) => name === 'train_m0').values.length)",
    );
    let counts: Vec<usize> = serde_json::from_value(counts).unwrap();
    assert_eq!(counts, [1_000; 100], "no point is left out");
    let bytes = page.metadata().unwrap().len();
    assert!(
        (MAX_BYTES..2 * MAX_BYTES).contains(&bytes),
        "the settings alone are as large as a page: {bytes} bytes"
    );
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

/// Replaces a run's log with one that has so many metrics, each with the mean of one epoch.
fn write_metrics(run: &Path, metrics: usize) {
    let path = run.join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let mut text = format!("{}\n", log.lines().next().unwrap());
    let names: Vec<usize> = (0..metrics).collect();
    for (epoch, names) in names.chunks(1_000).enumerate() {
        let shown: Vec<String> = names.iter().map(|name| format!("\"train_m{name}\":{name}.5")).collect();
        let (step, shown) = (10 * (epoch + 1), shown.join(","));
        writeln!(
            text,
            "{{\"step\":{step},\"epoch\":{epoch},\"split\":\"train\",\"scope\":\"epoch\",\"metrics\":{{{shown}}}}}"
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// What `burn-ckpt report` said of a page, and the page.
fn reported(root: &Path, runs: &[&Path]) -> (String, String) {
    let page = root.join("report.html");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"report", &"-o", &page];
    arguments.extend(runs.iter().map(|run| run as &dyn AsRef<std::ffi::OsStr>));
    let (out, said) = ended_with(&burn_ckpt(&arguments), 0);
    (out + &said, std::fs::read_to_string(page).unwrap())
}

#[test]
fn what_a_page_of_130_runs_leaves_out_is_said_on_it_and_by_the_program() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    write_metrics(&run_dir(root.path()), 80);
    let runs = copies(root.path(), 130);
    let paths: Vec<&Path> = runs.iter().map(AsRef::as_ref).collect();
    let (said, page) = reported(root.path(), &paths);
    assert!(said.contains("130 runs, "), "{said}");
    for note in [
        "520 of 10400 curves are left out: a page of 130 runs has at most 76 of each.",
        "as it has 130 runs with 9880 curves. One of fewer runs is faster, and has more points.",
    ] {
        assert!(said.contains(note) && page.contains(note), "{note}: {said}");
    }
    assert!(!said.contains("single batches"), "there are none: {said}");
    runs.iter().for_each(|run| drop(write_noise(run, 40, 100, 7)));
    let (said, page) = reported(root.path(), &paths);
    let note = "5200 curves of single batches are left out: with them this page would be larger than";
    assert!(said.contains(note) && page.contains(note), "{said}");
    assert!(page.len() as u64 <= MAX_BYTES, "{} bytes", page.len());
}

#[test]
fn a_log_with_60000_metrics_is_a_page_of_some_and_no_table() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    write_metrics(&run, 60_000);
    let (said, page) = reported(root.path(), &[&run]);
    for note in [
        "Of 1 run only the first 10000 curves are read.",
        "9500 of 10000 curves are left out: a page of 1 run has at most 500 of each.",
    ] {
        assert!(said.contains(note) && page.contains(note), "{note}: {said}");
    }
    assert!(page.len() as u64 <= MAX_BYTES, "{} bytes", page.len());
    for verb in ["csv", "log", "plot"] {
        let (_, said) = ended_with(&burn_ckpt(&[&verb, &run]), 1);
        assert!(said.contains("more than 10000 metrics"), "{verb}: {said}");
    }
}
