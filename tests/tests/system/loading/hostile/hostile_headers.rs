//! Headers that no writer makes: each is a short error within a second, and takes no memory for what it
//! claims.

use std::path::Path;
use std::time::Duration;

use burn::nn::LinearConfig;
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section};
use ciborium::{Value, cbor};
use jiff::Timestamp;
use system_tests::forged_checkpoint::{Parts, entry};
use system_tests::programs::commands::{burn_ckpt, stderr};
use system_tests::{backend, cpu_time};

/// Of a processor, so that other tests beside this one do not matter.
const LONGEST: Duration = Duration::from_secs(1);

fn saved(directory: &Path) -> (Parts, serde_json::Value) {
    let path = directory.join("whole.ckpt");
    let model = LinearConfig::new(4, 2).init(&backend::device());
    let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, Section::from_module(&model));
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();
    let metadata = Checkpoint::open(&path).unwrap().metadata().unwrap();
    (Parts::read(&path), serde_json::to_value(metadata).unwrap())
}

fn tensor(shape: Vec<u64>, from: u64, to: u64) -> Value {
    cbor!({ "dtype" => "F32", "shape" => shape, "data_offsets" => [from, to] }).unwrap()
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Changes a header, and returns the error of opening it.
fn opened(change: impl FnOnce(&mut Parts)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (mut parts, _) = saved(directory.path());
    change(&mut parts);
    let path = directory.path().join("forged.ckpt");
    parts.write_alone(&path);
    let begin = cpu_time::of_thread();
    let error = Checkpoint::open(&path).unwrap_err();
    let took = cpu_time::of_thread() - begin;
    println!("{took:.3?}");
    assert!(took < LONGEST, "{took:?}");
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    let shown = burn_ckpt::chain(&error);
    assert!(shown.len() < 1000, "{} bytes: {shown:.200}", shown.len());
    assert!(shown.contains("forged.ckpt"), "{shown}");
    shown
}

#[test]
fn what_is_over_a_limit_is_an_error() {
    let rank = opened(|parts| {
        parts.map("tensors").push((text("model.w"), tensor(vec![1; 1_000_000], 0, 4)));
    });
    assert!(rank.contains("more than 32 dimensions"), "{rank}");
    let name = opened(|parts| {
        parts.map("tensors").push((text("n".repeat(10_000_000)), tensor(vec![1], 0, 4)));
    });
    assert!(name.contains("10000000 bytes, and 4096 are allowed"), "{name}");
    let tensors = opened(|parts| {
        let many = (0..100_000).map(|number| (text(format!("model.{number}")), tensor(vec![0], 0, 0)));
        parts.map("tensors").extend(many);
    });
    assert!(tensors.contains("more than 100000 tensors"), "{tensors}");
    let strings = opened(|parts| {
        parts.map("metadata").extend((0..200_000).map(|number| (text(number.to_string()), text(""))));
    });
    assert!(strings.contains("more than 200000 strings"), "{strings}");
    let scalars = opened(|parts| {
        let scalar = cbor!({ "Int" => 1 }).unwrap();
        parts.map("scalars").extend((0..=200_000).map(|number| (text(number.to_string()), scalar.clone())));
    });
    assert!(scalars.contains("more than 200000 scalars"), "{scalars}");
    let nested = opened(|parts| {
        let deep = (0..200).fold(Value::Null, |value, _| Value::Array(vec![value]));
        *entry(&mut parts.header, "unknown") = deep;
    });
    assert!(nested.contains("header cannot be parsed"), "{nested}");
}

#[test]
fn a_place_that_no_tensor_can_have_is_an_error() {
    let shared = opened(|parts| {
        for number in 0..100 {
            parts.map("tensors").push((text(format!("model.{number}")), tensor(vec![8], 0, 32)));
        }
    });
    assert!(shared.contains("have bytes in common"), "{shared}");
    for (shape, from, to, reason) in [
        (vec![650_000_000], 0, 2_600_000_000, "it was cut off"),
        (vec![2], u64::MAX - 7, u64::MAX, "which no file has"),
        (vec![2], 8, 0, "it was cut off"),
        (vec![3], 0, 8, "which f32 [3] does not have"),
        (vec![0, u64::MAX, u64::MAX], 0, 0, "too large"),
        (vec![u64::MAX, 2], 0, 0, "too large"),
    ] {
        let error =
            opened(|parts| parts.map("tensors").push((text("model.w"), tensor(shape.clone(), from, to))));
        assert!(error.contains(reason), "{shape:?}: {error}");
    }
    let twice = opened(|parts| {
        let first = parts.map("tensors")[0].clone();
        parts.map("tensors").push(first);
    });
    assert!(twice.contains("is there twice"), "{twice}");
}

#[test]
fn tensors_without_bytes_may_be_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let (mut parts, metadata) = saved(directory.path());
    for number in 0..3 {
        parts.map("tensors").push((text(format!("model.{number}")), tensor(vec![0, 7], 4, 4)));
    }
    let path = directory.path().join("forged.ckpt");
    parts.write(&path, metadata);
    Checkpoint::open(&path).unwrap().verify().unwrap();
}

#[test]
fn json_of_too_many_values_is_an_error() {
    for key in ["burn-ckpt.hparams", "burn-ckpt.trainer_state", "burn-ckpt.sections"] {
        for (json, reason) in [
            (format!("[{}0]", "{},".repeat(2_000_000)), "more than 120000 values"),
            (format!("[{}\"\"]", "0,".repeat(200_000)), "more than 120000 values"),
            (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), "more than 100 deep"),
            (format!("\"{}\"", "a".repeat(17 * 1024 * 1024)), "are allowed"),
        ] {
            let error = opened(|parts| {
                parts.map("metadata").retain(|(name, _)| name.as_text() != Some(key));
                parts.map("metadata").push((text(key), text(json)));
            });
            assert!(error.contains(key) && error.contains(reason), "{error}");
        }
    }
}

/// What a terminal would execute: clear the screen, and set the window's title.
const SEQUENCES: &str = "\u{1b}[2J\u{9b}31m\u{7}\u{1b}]0;owned\u{7}\r";

#[test]
fn control_sequences_in_names_do_not_reach_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut parts, metadata) = saved(directory.path());
    let end = parts.data.len() as u64;
    parts.data.extend([0; 8]);
    parts.map("tensors").push((text(format!("model.{SEQUENCES}")), tensor(vec![2], end, end + 8)));
    let path = directory.path().join("forged.ckpt");
    parts.write(&path, metadata);
    let whole = directory.path().join("whole.ckpt");
    let damaged = directory.path().join("damaged.ckpt");
    parts.write_alone(&damaged);
    std::fs::copy(
        system_tests::run_files::metadata_path(&whole),
        system_tests::run_files::metadata_path(&damaged),
    )
    .unwrap();
    for arguments in [
        vec!["show", "forged.ckpt"],
        vec!["show", "--json", "forged.ckpt"],
        vec!["verify", "forged.ckpt"],
        vec!["verify", "damaged.ckpt"],
        vec!["diff", "forged.ckpt", "whole.ckpt"],
        vec!["diff", "--json", "forged.ckpt", "whole.ckpt"],
        vec!["ls", "."],
    ] {
        let arguments: Vec<std::ffi::OsString> = arguments
            .into_iter()
            .map(|word| match word.ends_with(".ckpt") || word == "." {
                true => directory.path().join(word).into(),
                false => word.into(),
            })
            .collect();
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            arguments.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        let output = burn_ckpt(&arguments);
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        let raw = shown.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(raw, None, "{shown:?}");
    }
    let error = Checkpoint::open(&path).unwrap().load_into(LinearConfig::new(4, 2).init(&backend::device()));
    let error = error.unwrap_err().to_string();
    assert!(!error.contains('\u{1b}') && error.contains(r"\u{1b}[2J"), "{error:?}");
}

#[test]
fn a_section_that_is_listed_twice_or_that_no_save_writes_is_an_error() {
    let listed = |sections: serde_json::Value| {
        opened(|parts| {
            parts.map("metadata").retain(|(name, _)| name.as_text() != Some("burn-ckpt.sections"));
            parts.map("metadata").push((text("burn-ckpt.sections"), text(sections.to_string())));
        })
    };
    let twice = listed(serde_json::Value::from(vec!["model"; 100_000]));
    assert!(twice.contains("the section model is in its list twice"), "{twice}");
    for name in ["model.weight", "user.a.b", "user.", "", "mode"] {
        let error = listed(serde_json::json!(["model", name]));
        assert!(error.contains("the name of a section is invalid"), "{error}");
    }
}
