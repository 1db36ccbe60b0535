//! A run that has diverged does not look like a success.

use serde_json::Value;
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::running::{Running, digits, warmup};
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::run_dir;

use super::page::report;

#[test]
fn a_run_that_has_diverged_says_so_on_its_page_and_in_the_list_of_runs() {
    let root = tempfile::tempdir().unwrap();
    Running::start(digits(root.path(), "--run-id r1 --epochs 1 --set learning_rate=1e30")).end_well();
    let run = run_dir(root.path());
    let runs: Value = serde_json::from_str(&stdout(&burn_ckpt(&[&"runs", &run, &"--json"]))).unwrap();
    let why = "its newest state is not finite";
    assert_eq!((&runs[0]["status"], &runs[0]["why"]), (&"done".into(), &why.into()));
    let said = browser::ask(
        &report(root.path(), &[&run]),
        "async () => ({
           note: document.querySelector('#top .note').textContent,
           status: document.querySelector('.status').className,
           top: document.getElementById('top').textContent,
           kept: document.querySelector('[aria-label^=\"checkpoints of\"] tbody tr').lastElementChild.textContent,
           some: document.querySelector('[aria-label=loss] .bad').textContent,
           keys: document.querySelector('[aria-label=loss] .key').textContent,
           loss: (() => {
             // The first batches have a finite loss.
             [...document.querySelectorAll('.controls label')].find((label) => label.textContent.includes('single batches')).querySelector('input').click();
             return document.querySelector('[aria-label=loss] .plot').textContent;
           })(),
           drawn: document.querySelectorAll('[aria-label=loss] canvas').length,
         })",
    );
    let text = |key: &str| said[key].as_str().unwrap();
    assert!(text("note").contains("Its newest state is not finite: it has values that are not finite in"));
    assert!(text("status").contains("failed") && text("top").contains(why), "{said}");
    assert!(text("kept").ends_with("last, not finite"), "{said}");
    assert_eq!((text("loss"), &said["drawn"]), ("no finite values", &0.into()), "{said}");
    assert_eq!(text("some"), "no finite values: val_loss, train_loss", "{said}");
    assert!(text("keys").contains("val_loss NaN"), "{said}");
}

#[test]
fn the_text_of_a_panic_does_not_make_a_table_wide_and_the_model_fits_a_window_of_900_pixels() {
    let root = tempfile::tempdir().unwrap();
    let panics = TestHooks::panic(Split::Train, 20);
    assert_ne!(
        Running::start(panics.given_to(warmup(root.path(), "--run-id r1 --epochs 2"))).end().code(),
        Some(0)
    );
    let page = report(root.path(), &[&run_dir(root.path())]);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("\"reason\":\"exception: "), "{html:.0}");
    let long = format!("\"reason\":\"exception: {}", "a long message ".repeat(40));
    std::fs::write(&page, html.replacen("\"reason\":\"exception: ", &long, 9)).unwrap();
    let beyond = browser::ask(
        &page,
        "async () => {
           document.body.style.width = '900px';
           const beyond = (label) => {
             const { scrollWidth, clientWidth } = document.querySelector(`[aria-label^='${label} of']`);
             return scrollWidth - clientWidth;
           };
           return [beyond('checkpoints'), beyond('model')];
         }",
    );
    assert_eq!(beyond, serde_json::json!([0, 0]));
}
