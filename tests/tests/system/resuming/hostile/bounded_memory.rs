//! What a resume takes from a hostile file: 64 MB of memory beyond the file's own length, and a
//! second.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use burn_ckpt::chain;
use burn_trainer::Error;
use serde_json::json;
use system_tests::cpu_time;
use system_tests::models::small::with_all_packages;
use system_tests::peak_memory::peak_memory;
use system_tests::programs::test_alone::run_alone;
use system_tests::run_files::{checkpoints, metadata_path};
use system_tests::{config, train};

use super::hostile_state::{forged, resumed};

const DIRECTORY: &str = "SYSTEM_TESTS_BOUNDED_RESUME";
const MOST_MEMORY: u64 = 64_000_000;
/// Of the processors, by all threads, in the development profile, which does not optimise what parses JSON: a
/// second at most on an idle machine, and more beside other processes that use its caches.
const LONGEST: Duration = Duration::from_secs(3);

/// In a process of its own: reads, and asserts what it took beyond a length.
fn measured<T>(what: &str, own: u64, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    within_bounds(what, own, LONGEST, read)
}

fn within_bounds<T>(
    what: &str,
    own: u64,
    longest: Duration,
    read: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let (before, begin) = (peak_memory(true), cpu_time::of_process());
    let outcome = read();
    let (took, more) = (cpu_time::of_process() - begin, peak_memory(false).saturating_sub(before));
    let said = outcome.as_ref().map_or_else(|error| chain(error), |_| "it resumes".to_owned());
    let beyond = more.saturating_sub(own);
    let figures =
        format!("{what}: {} MB beyond {} MB, {took:.2?}: {said:.200}", beyond / 1_000_000, own / 1_000_000);
    println!("{figures}");
    assert!(before > 0 && beyond <= MOST_MEMORY && took <= longest, "{figures}");
    outcome
}

#[test]
fn a_history_of_ten_million_epochs_is_an_error_before_it_takes_memory() {
    let Some(root) = std::env::var_os(DIRECTORY) else {
        let root = tempfile::tempdir().unwrap();
        let epochs = "{},".repeat(10_000_000);
        let history = format!(r#"{{"epochs":[{}],"entries":{{}}}}"#, epochs.trim_end_matches(','));
        forged(root.path(), &json!({ "epoch": 9_999_999 }), Some(&history));
        let test = "a_history_of_ten_million_epochs_is_an_error_before_it_takes_memory";
        return run_alone(module_path!(), test, DIRECTORY, root.path());
    };
    let root = Path::new(&root);
    let path = root.join("forged.ckpt");
    let own = std::fs::metadata(&path).unwrap().len();
    let error = measured("10,000,000 epochs", own, || resumed(root, &path, 3)).unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    assert!(chain(&error).contains("more than 5000000 values"), "{}", chain(&error));
}

#[test]
fn auto_passes_over_a_metadata_file_of_60_megabytes() {
    let Some(root) = std::env::var_os(DIRECTORY) else {
        let root = tempfile::tempdir().unwrap();
        train(config(root.path(), 1)).unwrap();
        let metadata = metadata_path(&checkpoints(root.path()).join("last/epoch=0-step=10.ckpt"));
        std::fs::write(metadata, format!("{{\"environment\":[{}0]}}", "{},".repeat(20_000_000))).unwrap();
        let test = "auto_passes_over_a_metadata_file_of_60_megabytes";
        return run_alone(module_path!(), test, DIRECTORY, root.path());
    };
    let config = config(Path::new(&root), 2).with_ckpt_path("auto");
    // The checkpoint has its metadata itself.
    let resumed = measured("auto", 0, || train(config)).unwrap();
    assert_eq!(resumed.global_step, 20);
}

/// Histories just below the limit of 5,000,000 values, each with its number of epochs.
const HISTORIES: [(&str, usize); 4] = [
    ("epochs without values", 2_400_000),
    ("epochs of one value", 1_240_000),
    ("epochs of 10,000 values", 249),
    ("lines of the epoch in progress", 1),
];

fn history(what: &str, epochs: usize) -> String {
    let (epoch, lines) = match what {
        "epochs of one value" => (r#"{"val_loss":0.5}"#.to_owned(), String::new()),
        "epochs of 10,000 values" => {
            let values: Vec<String> = (0..10_000).map(|metric| format!(r#""{metric}":0"#)).collect();
            (format!("{{{}}}", values.join(",")), String::new())
        }
        "lines of the epoch in progress" => {
            ("{}".to_owned(), format!(r#""Loss":[{}]"#, vec![r#"[1,"0"]"#; 1_660_000].join(",")))
        }
        _ => ("{}".to_owned(), String::new()),
    };
    format!(r#"{{"epochs":[{}],"entries":{{{lines}}}}}"#, vec![epoch; epochs].join(","))
}

#[test]
fn a_history_just_below_its_limit_takes_64_megabytes_at_most() {
    let test = "a_history_just_below_its_limit_takes_64_megabytes_at_most";
    if let Some(root) = std::env::var_os(DIRECTORY) {
        let root = Path::new(&root);
        let number: usize = std::fs::read_to_string(root.join("case")).unwrap().parse().unwrap();
        let (what, epochs) = HISTORIES[number];
        let path = root.join("forged.ckpt");
        // As a program has them, in the file too: what the first resume has freed is used by the second.
        with_all_packages();
        if !path.exists() {
            forged(root, &json!({ "epoch": epochs - 1 }), Some(&history(what, epochs)));
            return;
        }
        let own = std::fs::metadata(&path).unwrap().len();
        // The device and its threads take memory once.
        train(config(root, 1).with_run_id("warm")).unwrap();
        let complete = measured(what, own, || resumed(root, &path, epochs));
        assert!(matches!(complete, Err(Error::Config { .. })), "{complete:?}");
        if what != "epochs of 10,000 values" {
            return;
        }
        // One more epoch is trained, and saved with the whole history: a second file of that length, which
        // takes longer.
        let longest = Duration::from_mins(1);
        let trained = within_bounds(what, 2 * own, longest, || resumed(root, &path, epochs + 1));
        return assert_eq!(trained.unwrap(), 20);
    }
    for number in 0..HISTORIES.len() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("case"), number.to_string()).unwrap();
        // A process makes the file, and another one resumes from it.
        run_alone(module_path!(), test, DIRECTORY, root.path());
        run_alone(module_path!(), test, DIRECTORY, root.path());
    }
}
