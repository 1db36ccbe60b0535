//! The curves of a page can be told apart, and what they are of is counted.

use std::collections::BTreeSet;
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

#[test]
fn the_items_that_a_run_was_trained_on_are_counted() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 3)).unwrap();
    let answer = browser::ask(
        &report(root.path(), &[&run_dir(root.path())]),
        "async () => {
           const [run] = (await readData()).runs;
           const fact = [...document.querySelectorAll('.facts div')].map((fact) => fact.textContent).find((text) => text.startsWith('items trained on'));
           return { fact, items: run.speed.items };
         }",
    );
    let items = answer["items"].as_u64().unwrap();
    assert_eq!(answer["fact"], format!("items trained on{items} ({} an epoch)", items / 3));
}
