//! The curves of a page can be told apart, what they are of is counted, and those of many runs are fast.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use system_tests::programs::browser;
use system_tests::run_files::run_dir;
use system_tests::{config, train};

use super::page::{copies, report};

#[test]
fn the_lines_of_thirty_runs_differ_and_that_of_a_name_is_pointed_at() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 2)).unwrap();
    let runs = copies(root.path(), 30);
    let runs: Vec<&Path> = runs.iter().map(|run| run.as_path()).collect();
    let answer = browser::ask(
        &report(root.path(), &runs),
        "async () => {
           const lines = (inside) => [...document.querySelectorAll(`${inside} .swatch line`)].map((line) => `${line.getAttribute('stroke')} ${line.getAttribute('stroke-dasharray')}`);
           const name = document.querySelector('.chart .key li');
           name.dispatchEvent(new PointerEvent('pointerenter'));
           name.dispatchEvent(new PointerEvent('pointerleave'));
           return { table: lines('#runs'), chart: lines('.chart') };
         }",
    );
    let lines = |key: &str| -> Vec<String> { serde_json::from_value(answer[key].clone()).unwrap() };
    let different: BTreeSet<String> = lines("table").into_iter().collect();
    assert_eq!((lines("table").len(), different.len()), (30, 30), "{answer}");
    let in_chart = lines("chart");
    let of_loss: BTreeSet<&String> = in_chart[..60].iter().collect();
    assert_eq!(of_loss.len(), 60, "training and validation of each");
}

/// What the page of a run says of the items that it was trained on, and their number.
fn items(root: &Path) -> (String, u64) {
    let answer = browser::ask(
        &report(root, &[&run_dir(root)]),
        "async () => {
           const [run] = (await readData()).runs;
           const fact = [...document.querySelectorAll('.facts div')].map((fact) => fact.textContent).find((text) => text.startsWith('items trained on'));
           return [fact, run.speed.items];
         }",
    );
    serde_json::from_value(answer).unwrap()
}

#[test]
fn the_items_that_a_run_was_trained_on_are_counted() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let (said, items) = items(root.path());
    assert_eq!(said, format!("items trained on{items} ({} an epoch)", items / 3));
}

#[test]
fn within_an_epoch_the_items_are_not_divided_among_those_that_are_done() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3).with_max_steps(25)).unwrap();
    let (said, items) = items(root.path());
    assert_eq!(items % 2, 0, "half of them is a whole number");
    assert_eq!(said, format!("items trained on{items}"));
}

/// Replaces the log of the run `number` with one of so many epochs, each of another length than those of the
/// other runs, with a lowest and a highest value in their midst.
fn write_epochs(run: &Path, number: usize, epochs: usize) {
    let path = run.join("metrics.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let mut text = format!("{}\n", log.lines().next().unwrap());
    let begun: jiff::Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
    for epoch in 0..epochs {
        let value = match epoch {
            777 => -1.0,
            888 => 9.0,
            _ => 1.0 / (1.0 + epoch as f64),
        };
        let seconds = (epoch + 1) * (1_000 + 7 * number) / 1_000;
        let time = begun + jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        writeln!(
            text,
            "{{\"step\":{},\"epoch\":{epoch},\"split\":\"train\",\"scope\":\"epoch\",\"time\":\"{time}\",\"metrics\":{{\"train_loss\":{value}}}}}",
            10 * (epoch + 1)
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn many_curves_along_time_share_few_places_and_keep_their_extremes() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let runs = copies(root.path(), 60);
    for (number, run) in runs.iter().enumerate() {
        write_epochs(run, number, 2_000);
    }
    let runs: Vec<&Path> = runs.iter().map(|run| run.as_path()).collect();
    let answer = browser::ask(
        &report(root.path(), &runs),
        "async () => {
           const series = (await readData()).runs.map((run) => run.series.find(({ name }) => name === 'train_loss'));
           const [places, ...drawn] = joined(series.map(({ axis, values }) => [axis.seconds, values]));
           const ends = (values) => [Math.min(...values), Math.max(...values)];
           const finite = (values) => values.filter(Number.isFinite);
           return {
             points: series.map(({ axis }) => new Set(axis.seconds).size),
             places: places.length, first: places[0], last: places.at(-1),
             along: [Math.min(...series.map(({ axis }) => axis.seconds[0])), Math.max(...series.map(({ axis }) => axis.seconds.at(-1)))],
             drawn: drawn.map((values) => ends(finite(values))), values: series.map(({ values }) => ends(values)),
             gaps: drawn.filter((values) => values.includes(null)).length,
             lasts: drawn.map((values) => finite(values).at(-1)), ends: series.map(({ values }) => values.at(-1)),
           };
         }",
    );
    let points: Vec<u64> = serde_json::from_value(answer["points"].clone()).unwrap();
    assert!(points.iter().all(|points| *points >= 990), "points of one curve are at one place: {points:?}");
    assert!(answer["places"].as_u64().unwrap() <= 12_000, "{}", answer["places"]);
    assert_eq!((&answer["first"], &answer["last"]), (&answer["along"][0], &answer["along"][1]));
    assert_eq!((&answer["drawn"], &answer["lasts"]), (&answer["values"], &answer["ends"]));
    assert_eq!(answer["gaps"], 0, "no line is broken");
    let least = answer["drawn"][0][0].as_f64().unwrap();
    assert!((least + 1.0).abs() < 0.01, "{least}");
}

#[test]
fn a_move_of_the_mouse_changes_the_values_beside_the_names_and_keeps_the_names() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let answer = browser::ask(
        &report(root.path(), &[&run_dir(root.path())]),
        "async () => {
           const [plot, keys] = [document.querySelector('.plot'), document.querySelector('.chart .key')];
           const press = (key) => plot.dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
           const before = [...keys.children];
           press('Home');
           const first = keys.textContent;
           press('End');
           return { kept: before.every((item) => item.isConnected), added: keys.children.length - before.length, first, last: keys.textContent };
         }",
    );
    assert_eq!((&answer["kept"], &answer["added"]), (&true.into(), &1.into()), "{answer}");
    let text = |key: &str| answer[key].as_str().unwrap();
    assert!(text("first").starts_with("step 1") && text("last").starts_with("step 30"), "{answer}");
}
