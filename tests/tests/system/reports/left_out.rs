//! A run that cannot be read is not on the page, and is the status.

use std::fs;

use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with};
use system_tests::run_files::run_dir;
use system_tests::{config, train};

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
    let (_, err) = ended_with(&burn_ckpt(&[&"report", &logs, &"-o", &page]), 1);
    assert!(err.contains("damaged is left out: ") && err.contains("1 run"), "{err}");
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
