//! A run that cannot be read is not on the page, and is the status.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use system_tests::programs::browser;
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::run_dir;
use system_tests::{config, train};

use super::page::partial_report;

#[test]
fn a_run_that_cannot_be_read_is_the_status_and_the_others_are_on_the_page() {
    let root = tempfile::tempdir().unwrap();
    for run in ["whole", "damaged"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = run_dir(root.path()).parent().unwrap().to_path_buf();
    let (damaged, page) = (logs.join("damaged"), root.path().join("page.html"));
    fs::remove_dir_all(damaged.join("checkpoint")).unwrap();
    fs::write(damaged.join("metrics.jsonl"), "{\"format\":\"burn-ckpt metrics\",\"version\":99}\n").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"report", &logs, &"-o", &page]), 1);
    assert!(err.contains("damaged is left out: ") && out.contains("1 run"), "{out}{err}");
    assert!(fs::read_to_string(&page).unwrap().contains("whole"));
}

#[test]
fn as_json_the_program_says_what_is_on_the_page_and_what_is_not() {
    let root = tempfile::tempdir().unwrap();
    for run in ["damaged", "whole"] {
        train(config(root.path(), 1).with_run_id(run)).unwrap();
    }
    let logs = run_dir(root.path()).parent().unwrap().to_path_buf();
    let (damaged, whole, page) = (logs.join("damaged"), logs.join("whole"), root.path().join("page.html"));
    fs::remove_dir_all(damaged.join("checkpoint")).unwrap();
    fs::write(damaged.join("metrics.jsonl"), "{\"format\":\"burn-ckpt metrics\",\"version\":99}\n").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"report", &logs, &"-o", &page, &"--json"]), 1);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["path"], json!(page));
    assert_eq!(said["size_bytes"], fs::metadata(&page).unwrap().len());
    assert_eq!(said["runs"], json!([{ "run": "whole", "directory": whole, "status": "done" }]));
    assert_eq!((&said["unreadable"][0]["run"], &said["left_out"]), (&json!("damaged"), &json!([])));
    assert!(said["unreadable"][0]["problem"].as_str().unwrap().contains("99"), "{said}");
    assert!(err.contains("damaged is left out: "), "{err}");
    // The page and the JSON cannot be on one output.
    let (out, err) = ended_with(&burn_ckpt(&[&"report", &whole, &"-o", &"-", &"--json"]), 2);
    assert!(out.is_empty() && err.contains("--output"), "{err}");
}

#[test]
fn a_path_without_a_run_is_named_and_the_others_are_on_the_page() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1).with_run_id("whole")).unwrap();
    let logs = run_dir(root.path()).parent().unwrap().to_path_buf();
    let (missing, page) = (root.path().join("missing"), root.path().join("page.html"));
    symlink("loop", logs.join("loop")).unwrap();
    symlink("nothing", logs.join("dangling")).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"report", &logs, &missing, &"-o", &page]), 1);
    for name in ["loop is left out: ", "dangling is left out: ", "missing is left out: "] {
        assert!(err.contains(name), "{name}: {err}");
    }
    assert!(out.contains("page.html: 1 run, "), "{out}");
    assert!(fs::read_to_string(&page).unwrap().contains("whole"));
    let (out, err) = ended_with(&burn_ckpt(&[&"runs", &logs]), 1);
    assert!(out.contains("dangling") && err.contains("cannot follow the link"), "{out}{err}");
}

#[test]
fn what_is_not_a_run_is_named_as_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let link = root.path().join("link");
    symlink("nothing", &link).unwrap();
    for (path, said) in [
        (link, "link is a link to something that is not there: name a directory of runs"),
        (root.path().join("missing"), "missing is not there: name a directory of runs"),
        (run.join("metrics.jsonl"), "metrics.jsonl is a file: name a directory of runs"),
        (run.join("best"), "is a checkpoint, not a run: name "),
        (run.join("checkpoint/last.ckpt"), "is a checkpoint, not a run: name "),
    ] {
        for verb in ["runs", "report"] {
            let (_, err) = ended_with(&burn_ckpt(&[&verb, &path]), 1);
            assert!(err.contains(said), "{verb}: {err}");
        }
    }
}

#[test]
fn what_of_a_run_cannot_be_read_is_the_status_and_the_rest_is_on_the_page() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, page) = (run_dir(root.path()), root.path().join("page.html"));
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), format!("{log}{{half\n")).unwrap();
    fs::write(run.join("tags.json"), "mine").unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"report", &run, &"-o", &page, &"--json"]), 1);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["runs"].as_array().unwrap().len(), 1);
    let problems: Vec<&Value> =
        said["unreadable"].as_array().unwrap().iter().map(|found| &found["problem"]).collect();
    assert_eq!(problems.len(), 2, "{said}");
    let html = fs::read_to_string(&page).unwrap();
    for problem in problems.iter().map(|problem| problem.as_str().unwrap()) {
        assert!(err.contains(&format!("warning: r1: {problem}")), "{err}");
        assert!(html.contains(problem), "{problem}");
    }
    assert!(err.contains("metrics.jsonl is invalid") && err.contains("tags.json"), "{err}");
    assert!(html.contains("val_loss"));
}

#[test]
fn a_log_that_cannot_be_read_costs_the_curves_alone() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    fs::create_dir(run.join("metrics.jsonl")).unwrap();
    let shown = browser::open(&partial_report(root.path(), &[&run]));
    assert!(shown.document.contains("There are no curves: "), "{}", shown.document);
    assert!(shown.document.contains("1 of 1"), "the epochs of the checkpoint");
}
