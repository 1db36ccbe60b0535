//! Something else than a file where a user names one: `--ckpt-path`, a checkpoint to open, the index of
//! several files. The kind of the error says what it is. And a file that grows while it is read.

#![cfg(unix)]

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn_ckpt::chain;
use burn_ckpt::{Checkpoint, ErrorKind, Metadata, Section};
use burn_trainer::Error;
use serde_json::json;
use system_tests::backend;
use system_tests::hand_made_files::save_as_model;
use system_tests::programs::commands::{burn_ckpt, stderr};
use system_tests::run_files::metadata_path;
use system_tests::{config, train};

use super::special_files::{KINDS, put};

const LONGEST: Duration = Duration::from_mins(2);

/// The kind of the error of opening it as a checkpoint.
fn kind_of(kind: &str) -> ErrorKind {
    match kind {
        "nothing" => ErrorKind::NotFound,
        "loop of links" => ErrorKind::Io,
        _ => ErrorKind::NotACheckpoint,
    }
}

#[test]
fn opening_something_else_is_an_error_of_its_kind() {
    for kind in KINDS {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.ckpt");
        put(kind, &path);
        let begin = Instant::now();
        let error = Checkpoint::open(&path).unwrap_err();
        println!("{kind}: {:?}: {}", error.kind(), chain(&error));
        assert_eq!(error.kind(), kind_of(kind), "{kind}: {error:?}");
        let error = Metadata::read(&path).unwrap_err();
        println!("{kind} as metadata: {:?}: {}", error.kind(), chain(&error));
        let wanted = match kind {
            "nothing" => ErrorKind::NotFound,
            "loop of links" => ErrorKind::Io,
            _ => ErrorKind::Damaged,
        };
        assert_eq!(error.kind(), wanted, "{kind}: {error:?}");
        assert!(begin.elapsed() < LONGEST, "{kind}");
    }
}

#[test]
fn resuming_from_something_else_is_an_error_that_names_it() {
    for kind in KINDS {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.ckpt");
        put(kind, &path);
        let begin = Instant::now();
        let error =
            train(config(&root.path().join("runs"), 1).with_ckpt_path(path.to_str().unwrap())).err().unwrap();
        println!("{kind}: {}", chain(&error));
        let Error::Checkpoint(source) = &error else { panic!("{kind}: {error:?}") };
        assert_eq!(source.kind(), kind_of(kind), "{kind}: {error:?}");
        // Of a link, the file that it leads to is named.
        let named = if kind == "device" { "/dev/zero" } else { "a.ckpt" };
        assert!(chain(&error).contains(named), "{error}");
        // A start that fails leaves no directory.
        assert!(std::fs::read_dir(root.path().join("runs")).is_err(), "{kind}");
        assert!(begin.elapsed() < LONGEST, "{kind}");
    }
}

#[test]
fn an_index_or_a_part_of_a_model_that_is_something_else_is_an_error_that_names_it() {
    for kind in KINDS {
        for place in ["model.safetensors.index.json", "b.safetensors"] {
            let root = tempfile::tempdir().unwrap();
            let index = root.path().join("model.safetensors.index.json");
            if place != "model.safetensors.index.json" {
                std::fs::write(&index, r#"{"weight_map":{"w":"b.safetensors"}}"#).unwrap();
            }
            put(kind, &root.path().join(place));
            let begin = Instant::now();
            let out = root.path().join("out.ckpt");
            let output = burn_ckpt(&[&"import", &index, &out]);
            let said = stderr(&output);
            println!("{kind} as {place}: {said}");
            assert_eq!(output.status.code(), Some(1), "{kind} as {place}: {said}");
            assert!(said.contains("error: ") && said.contains(place), "{kind} as {place}: {said}");
            assert!(begin.elapsed() < LONGEST, "{kind} as {place}");
            assert!(std::fs::symlink_metadata(&out).is_err(), "{kind} as {place}");
        }
    }
}

fn append(path: &Path, bytes: &[u8]) {
    std::fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_file_that_grows_while_it_is_read_stays_what_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let model = burn::nn::LinearConfig::new(64, 64).init(&backend::device());
    let path = save_as_model(directory.path(), "a.ckpt", &json!({}), Section::from_module(&model));
    let opened = Checkpoint::open(&path).unwrap();
    append(&path, &[0; 1000]);
    opened.verify().unwrap();
    let load = |checkpoint: &Checkpoint| {
        checkpoint.load_into(burn::nn::LinearConfig::new(64, 64).init(&backend::device())).map(drop)
    };
    load(&opened).unwrap();
    let error = Checkpoint::open(&path).and_then(|grown| grown.verify()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error:?}");

    // Both grow all the time: each read ends, whole or damaged.
    let path = save_as_model(directory.path(), "b.ckpt", &json!({}), Section::from_module(&model));
    let (done, begin) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                append(&path, &[7; 4096]);
                append(&metadata_path(&path), b" ");
            }
        });
        let reads: Vec<_> = (0..50)
            .map(|_| {
                Checkpoint::open(&path).and_then(|checkpoint| load(&checkpoint).and(checkpoint.verify()))
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        for error in reads.into_iter().filter_map(Result::err) {
            assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unverifiable), "{error:?}");
        }
    });
    assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
}
