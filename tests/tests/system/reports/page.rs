//! What the page shows is what the run's files say, and it is usable with a keyboard, on a small screen, and
//! with any text in a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with};
use system_tests::run_files::{copy_tree, run_dir};
use system_tests::{config, train};

/// The steps and values of a metric.
type Curve = Vec<(u64, f64)>;
/// Curves by metric, split and scope.
type Curves = BTreeMap<[String; 3], Curve>;

/// What a run logged, read without any code of ours but the order of the lines.
pub fn logged(run: &Path) -> Curves {
    let mut curves = Curves::new();
    for line in std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for (metric, value) in line["metrics"].as_object().into_iter().flatten() {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            let curve = curves.entry([metric.clone(), text("split"), text("scope")]).or_default();
            curve.push((line["step"].as_u64().unwrap(), value.as_f64().unwrap()));
        }
    }
    curves
}

/// The curves of each run as the page's own scripts read them, by the runs' ids.
pub fn shown(page: &Path) -> BTreeMap<String, Curves> {
    let answer = browser::ask(
        page,
        "async () => (await readData()).runs.map((run) => [run.id, run.series.filter(({ scope }) => scope !== 'speed').map((series) =>
           [[series.name, series.split, series.scope], series.axis.steps.map((step, place) => [step, series.values[place]])])])",
    );
    type Named<T> = Vec<(String, T)>;
    let runs: Named<Vec<([String; 3], Curve)>> = serde_json::from_value(answer).unwrap();
    runs.into_iter().map(|(id, curves)| (id, curves.into_iter().collect())).collect()
}

/// The page of these runs, in their directory of runs.
pub fn report(root: &Path, runs: &[&Path]) -> PathBuf {
    report_with(root, runs, 0)
}

/// The same, of runs of which something cannot be read.
pub fn partial_report(root: &Path, runs: &[&Path]) -> PathBuf {
    report_with(root, runs, 1)
}

fn report_with(root: &Path, runs: &[&Path], status: i32) -> PathBuf {
    let page = root.join("report.html");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"report", &"-o", &page];
    arguments.extend(runs.iter().map(|run| run as &dyn AsRef<std::ffi::OsStr>));
    ended_with(&burn_ckpt(&arguments), status);
    page
}

#[test]
fn the_curves_are_the_numbers_of_the_log() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let run = run_dir(root.path());
    let expected = logged(&run);
    assert!(expected.len() >= 3 && expected.values().any(|curve| curve.len() == 30), "{expected:?}");
    let page = report(root.path(), &[&run]);
    assert_eq!(shown(&page), BTreeMap::from([("r1".to_owned(), expected)]));
}

#[test]
fn the_speed_is_drawn_as_curves_beside_the_metrics() {
    let root = tempfile::tempdir().unwrap();
    // A save at each of an epoch's 10 steps: the loop waits for most, so some have ended in each epoch.
    let last = burn_trainer::strategy::Last::new().with_every_n_steps(1);
    train(config(root.path(), 3).with_last(last)).unwrap();
    let run = run_dir(root.path());
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let speeds: Vec<Value> =
        lines.filter(|line| line["scope"] == "epoch").map(|line| line["speed"].clone()).collect();
    let values = |key: &str, factor: f64| -> Vec<f64> {
        speeds.iter().map(|speed| factor * speed[key].as_f64().unwrap()).collect()
    };
    let answer = browser::ask(
        &report(root.path(), &[&run]),
        "async () => {
           const speed = (await readData()).runs[0].series.filter(({ scope }) => scope === 'speed');
           const charts = [...document.querySelectorAll('.chart h3')].map((heading) => heading.textContent);
           return { charts, curves: speed.map(({ name, values }) => [name, values]), steps: speed[0].axis.steps };
         }",
    );
    let saves = values("save_seconds", 1.0);
    assert!(saves.iter().all(|seconds| *seconds > 0.0), "{speeds:?}");
    let expected = [
        ("items/s", values("items_per_second", 1.0)),
        ("steps/s", values("steps_per_second", 1.0)),
        ("% of the time waiting for data", values("data_share", 100.0)),
        ("% of the time spent on saves", values("save_share", 100.0)),
        ("seconds of a save until it is durable", saves),
    ];
    let curves: Vec<(String, Vec<f64>)> = serde_json::from_value(answer["curves"].clone()).unwrap();
    assert_eq!(curves, expected.map(|(name, values)| (name.to_owned(), values)));
    assert_eq!(answer["steps"], serde_json::json!([10, 20, 30]));
    let charts: Vec<&str> = answer["charts"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(charts.starts_with(&["loss"]) && charts.contains(&"items/s"), "{charts:?}");
}

#[test]
fn a_page_of_one_run_says_what_was_trained_how_and_on_what() {
    let root = tempfile::tempdir().unwrap();
    let tagged = config(root.path(), 2).with_tags(["small"]).with_notes("a first try");
    train(tagged).unwrap();
    ended_with(&burn_ckpt(&[&"tag", &run_dir(root.path()), &"baseline"]), 0);
    let page = report(root.path(), &[&run_dir(root.path())]);
    let shown = browser::open(&page);
    assert_eq!(shown.console, [""; 0]);
    for text in [
        "done",
        "a first try",
        "tags: small, baseline",
        "2 of 2",
        "best val_loss",
        "20",
        "with_ckpt_path",
        "burn-ckpt export",
        "::from_checkpoint(",
        "the beginning",
        "epoch=1-step=20.ckpt",
        "BatchNorm",
        ">last.topk<",
        "os.kernel",
    ] {
        assert!(shown.document.contains(text), "{text}");
    }
    // Nothing is loaded from anywhere.
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("default-src 'none'") && !html.contains("src=\"") && !html.contains("@import"));
}

#[test]
fn text_of_a_run_is_never_read_as_html() {
    let root = tempfile::tempdir().unwrap();
    let evil =
        "</script><script>console.error('read')</script><img src=x onerror=console.error('loaded')>{{data}}";
    train(config(root.path(), 1).with_notes(evil).with_name(evil).with_tags([evil])).unwrap();
    let page = report(root.path(), &[&run_dir(root.path())]);
    let shown = browser::open(&page);
    assert_eq!(shown.console, [""; 0]);
    let said = browser::ask(&page, "async () => [document.title, document.querySelector('h1').textContent]");
    assert_eq!(said, serde_json::json!([evil, evil]));
}

#[test]
fn several_runs_share_charts_and_a_table_of_what_differs() {
    let root = tempfile::tempdir().unwrap();
    for (run, seed) in [("r1", 1), ("r2", 2)] {
        train(config(root.path(), 2).with_run_id(run).with_seed(seed)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    let page = report(root.path(), &[&logs.join("r1"), &logs.join("r2")]);
    let answer = browser::ask(
        &page,
        "async () => {
           const headings = () => [...document.querySelectorAll('#runs thead th')];
           const seeds = () => [...document.querySelectorAll('#runs tbody tr')].map((row) => row.lastElementChild.textContent);
           const before = seeds();
           const seed = headings().at(-1);
           seed.querySelector('button').click();
           seed.querySelector('button').click();
           const charts = document.querySelectorAll('.chart').length;
           const curves = () => document.querySelector('.chart .key').textContent;
           const all = curves();
           document.querySelector('#runs input').click();
           return { title: seed.textContent, sort: seed.getAttribute('aria-sort'), before, after: seeds(), charts, all, fewer: curves() };
         }",
    );
    assert_eq!(
        (&answer["title"], &answer["sort"]),
        (&"trainer.seed".into(), &"descending".into()),
        "{answer}"
    );
    assert_eq!(
        (&answer["before"], &answer["after"]),
        (&serde_json::json!(["1", "2"]), &serde_json::json!(["2", "1"]))
    );
    assert!(answer["charts"].as_u64() >= Some(1), "{answer}");
    let has = |key: &str, run: &str| answer[key].as_str().unwrap().contains(&format!("{run}: val_loss"));
    assert!(has("all", "r1") && has("all", "r2"), "{answer}");
    // The first row is now that of the second run.
    assert!(has("fewer", "r1") && !has("fewer", "r2"), "{answer}");
}

#[test]
fn the_arrow_keys_read_a_curve_and_a_chart_says_what_it_shows() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let run = run_dir(root.path());
    let page = report(root.path(), &[&run]);
    let answer = browser::ask(
        &page,
        "async () => {
           const plot = document.querySelector('.plot');
           const said = () => plot.parentElement.querySelector('.key').textContent;
           const press = (key) => plot.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
           press('Home');
           const first = said();
           press('ArrowRight');
           return { label: plot.getAttribute('aria-label'), first, second: said(), isReached: plot.tabIndex };
         }",
    );
    let text = |key: &str| answer[key].as_str().unwrap();
    assert!(text("first").starts_with("step 1"), "{answer}");
    assert!(text("second").starts_with("step 2"), "{answer}");
    assert!(text("label").contains("lowest") && text("label").contains("val_loss"), "{answer}");
    assert_eq!(answer["isReached"], 0);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_rest_is_shown() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let run = run_dir(root.path());
    let best = run.join("checkpoint/best");
    let damaged = std::fs::read_dir(&best).unwrap().map(|entry| entry.unwrap().path());
    let damaged = damaged.into_iter().find(|path| path.extension().is_some_and(|end| end == "ckpt")).unwrap();
    std::fs::write(&damaged, "cut").unwrap();
    let shown = browser::open(&partial_report(root.path(), &[&run]));
    assert!(shown.document.contains(&damaged.display().to_string()), "{}", damaged.display());
    assert!(shown.document.contains("last/epoch=1-step=20.ckpt"));
}

#[test]
fn a_run_without_a_log_says_that_it_has_no_curves() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    std::fs::remove_file(run.join("metrics.jsonl")).unwrap();
    let shown = browser::open(&report(root.path(), &[&run]));
    assert!(shown.document.contains("There are no curves: the run has no metrics.jsonl."));
    assert!(shown.document.contains("epoch=0-step=10.ckpt"));
}

#[test]
fn an_earlier_page_is_replaced_and_another_file_is_kept() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let page = report(root.path(), &[&run]);
    report(root.path(), &[&run]);
    std::fs::write(&page, "mine").unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"report", &"-o", &page, &run]), 1);
    assert!(said.contains("which is not a page of burn-ckpt") && said.contains("report.html"), "{said}");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "mine");
    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"report", &empty]), 1);
    assert!(said.contains("has no run: name a directory of runs"), "{said}");
}

#[test]
fn a_page_goes_to_standard_output_and_what_is_not_a_file_is_named_as_that() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    for name in ["-", "/dev/stdout"] {
        let mut command = burn_ckpt_command();
        let output =
            command.args(["report", "-o", name]).arg(&run).current_dir(root.path()).output().unwrap();
        let (page, said) = ended_with(&output, 0);
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page:.100}");
        assert!(said.is_empty() && !root.path().join("-").exists(), "{said}");
    }
    let link = root.path().join("link");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    for (path, reason) in [
        (root.path(), "it is a directory: name a file in it, or move it away"),
        (Path::new("/dev/full"), "it is a link, a device or a pipe"),
        (&link, "it is a link, a device or a pipe"),
    ] {
        let (_, said) = ended_with(&burn_ckpt(&[&"report", &"-o", &path, &run]), 1);
        assert!(said.contains(reason), "{said}");
    }
    let pdf = root.path().join("page.pdf");
    let (_, said) = ended_with(&burn_ckpt(&[&"report", &"-o", &pdf, &run]), 2);
    assert!(
        said.contains("the page is HTML: name it") && said.contains("page.html") && !pdf.exists(),
        "{said}"
    );
}

#[test]
fn a_run_without_anything_is_said_to_have_nothing_to_report() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("d2");
    std::fs::create_dir_all(run.join("checkpoint")).unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"report", &run]), 1);
    let expected = "d2: the run has neither a checkpoint nor a logged metric yet";
    assert!(said.contains("there is nothing to report of ") && said.contains(expected), "{said}");
}

#[test]
fn a_run_of_which_the_log_alone_is_left_has_its_curves() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let (run, alone) = (run_dir(root.path()), root.path().join("alone"));
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(run.join("metrics.jsonl"), alone.join("metrics.jsonl")).unwrap();
    assert_eq!(shown(&report(root.path(), &[&alone]))["alone"], logged(&run));
    std::fs::write(alone.join("metrics.jsonl"), "mine\n").unwrap();
    let (_, said) = ended_with(&burn_ckpt(&[&"report", &"-o", &root.path().join("p.html"), &alone]), 1);
    assert!(said.contains("has no run"), "{said}");
}

#[test]
fn a_run_that_is_named_twice_is_on_the_page_once() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let page = root.path().join("page.html");
    let (slash, above) = (run.join(""), run.parent().unwrap());
    let (out, said) = ended_with(&burn_ckpt(&[&"report", &"-o", &page, &run, &slash, &above]), 0);
    assert!(out.contains("page.html: 1 run, ") && said.is_empty(), "{out}{said}");
}

/// Replaces a metric's values in the log of a run from a step on.
fn make_not_finite(run: &Path, metric: &str, from: u64) {
    let path = run.join("metrics.jsonl");
    let mut text = String::new();
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line["step"].as_u64() >= Some(from) && line["metrics"].get(metric).is_some() {
            line["metrics"][metric] = "NaN".into();
        }
        text = format!("{text}{line}\n");
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_value_that_is_not_finite_is_shown_as_that_and_not_as_the_last_finite_one() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let run = run_dir(root.path());
    make_not_finite(&run, "val_loss", 20);
    let answer = browser::ask(
        &report(root.path(), &[&run]),
        "async () => {
           const plot = document.querySelector('.plot');
           return { label: plot.getAttribute('aria-label'), said: plot.parentElement.querySelector('.key').textContent };
         }",
    );
    let text = |key: &str| answer[key].as_str().unwrap();
    assert!(text("said").contains("val_loss NaN"), "{answer}");
    assert!(text("label").contains("last NaN") && text("label").contains("2 not finite"), "{answer}");
}

#[test]
fn hostile_text_and_numbers_of_a_run_are_neither_commands_nor_panics() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path()).with_file_name("a b; touch c");
    std::fs::rename(run_dir(root.path()), &run).unwrap();
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = r#"{"step":11,"epoch":18446744073709551615,"split":"train","scope":"epoch","metrics":{"train_loss":1}}"#;
    std::fs::write(run.join("metrics.jsonl"), format!("{log}{line}\n")).unwrap();
    let shown = browser::open(&report(root.path(), &[&run]));
    assert_eq!(shown.console, [""; 0]);
    assert!(shown.document.contains("burn-ckpt verify '"), "{}", shown.document);
}

#[test]
fn copies_of_a_run_have_the_names_of_their_directories() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let runs = copies(root.path(), 2);
    let page = report(root.path(), &[&runs[0], &runs[1]]);
    let labels = browser::ask(&page, "async () => (await readData()).runs.map((run) => [run.id, run.label])");
    assert_eq!(labels, serde_json::json!([["r1", "copy-0"], ["r1", "copy-1"]]));
}

/// Copies of a run, whose directories have other names.
pub fn copies(root: &Path, count: usize) -> Vec<PathBuf> {
    let run = run_dir(root);
    let copy = |number: usize| {
        let copy = run.with_file_name(format!("copy-{number}"));
        copy_tree(&run, &copy);
        copy
    };
    (0..count).map(copy).collect()
}
