//! A run that cannot be read is not on the page, and is the status.

use std::fs;

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
