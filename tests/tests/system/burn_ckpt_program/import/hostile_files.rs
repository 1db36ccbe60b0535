//! `burn-ckpt import` of an invalid or damaged file: an error that says so, no panic, and nothing left
//! behind.

use std::path::Path;
use std::process::Output;

use burn_ckpt::{Checkpoint, Section};
use serde_json::json;
use system_tests::hand_made_files::{save_as_model, write_safetensors};
use system_tests::models::pytorch_twin::{Inputs, Net};
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, stderr, stdout};
use system_tests::programs::python::run_script;
use system_tests::random::SplitMix64;
use system_tests::run_files::files;

fn import(file: &Path, out: &Path, more: &[&str]) -> Output {
    let words = ["import", file.to_str().unwrap(), out.to_str().unwrap()];
    burn_ckpt_command().args([&words, more].concat()).output().unwrap()
}

/// Imports bytes. Either there is a complete checkpoint then, or exit status 1, one error and nothing else.
fn import_bytes(bytes: &[u8], what: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join("in"), directory.path().join("out.ckpt"));
    std::fs::write(&file, bytes).unwrap();
    let output = import(&file, &out, &[]);
    let error = stderr(&output);
    if output.status.success() {
        Checkpoint::open(&out).unwrap().verify().unwrap();
        return Ok(());
    }
    assert_eq!(output.status.code(), Some(1), "{what}: {error}");
    assert!(error.contains("error: ") && !error.contains("panicked"), "{what}: {error}");
    assert!(output.stdout.is_empty(), "{what}");
    assert_eq!(files(directory.path()), ["in"], "{what}: {error}");
    Err(error)
}

#[test]
fn other_files_are_errors_that_say_what_they_look_like() {
    let refused = |bytes: &[u8], facts: &[&str]| {
        let error = import_bytes(bytes, "").unwrap_err();
        for fact in facts {
            assert!(error.contains(fact), "{fact}: {error}");
        }
    };
    refused(b"", &["empty"]);
    refused(b"GIF89a, not a model", &["47 49 46 38 39 61", "GIF89a"]);
    refused(b"NRUB\x01\0\0\0\0\0", &["checkpoint"]);
    refused(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["data.pkl"]);
    refused(b"\x80\x02}q\0.", &["no tensors"]);
    // A dictionary in itself, and so on, deeper than a stack allows.
    let deep = [&b"\x80\x02"[..], &b"]".repeat(200_000), &b"a".repeat(199_999), b"."].concat();
    refused(&deep, &["nest"]);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.safetensors");
    let header = |text: &str, data: &[u8]| {
        write_safetensors(&file, text, data);
        std::fs::read(&file).unwrap()
    };
    refused(&header("{}", &[]), &["no tensors"]);
    refused(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["ff ff"]);
    refused(&[&90_000_000u64.to_le_bytes()[..], b"{}"].concat(), &["90000000", "10"]);
    let one = |dtype: &str, shape: &str, end: usize| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    refused(&header(&one("F32", "[2]", 8), &[0; 4]), &["the file has"]);
    refused(&header(&one("F32", "[2]", 8), &[0; 9]), &["the file has"]);
    refused(&header(&one("F32", "[3]", 8), &[0; 8]), &["header"]);
    refused(&header(&one("F32", "[4294967296, 4294967296, 4294967296]", 8), &[0; 8]), &["header"]);
    refused(&header(&one("F8_E4M3", "[8]", 8), &[0; 8]), &["F8_E4M3"]);
    refused(&header(&one("F32", &format!("[{}]", ["1"; 1000].join(",")), 4), &[0; 4]), &["1000 dimensions"]);
    let unnamed = r#"{"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    refused(&header(unnamed, &[0; 4]), &["without a name"]);
    let wrong = r#"{"__metadata__":{"producer":"burn-ckpt","burn_ckpt.hparams":"{"},
        "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    refused(&header(wrong, &[0; 4]), &["burn_ckpt.hparams"]);
}

#[test]
fn directories_pipes_and_missing_files_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.ckpt");
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in [directory.path(), &pipe, &directory.path().join("gone")] {
        let output = import(file, &out, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(file.to_str().unwrap()), "{}", stderr(&output));
    }
    assert_eq!(files(directory.path()), ["pipe"]);
}

/// Imports a file in a process that may have 200 MB of memory. Zeros follow the bytes, up to a size.
fn import_within_memory(name: &str, bytes: &[u8], size: usize) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (file, out) = (directory.path().join(name), directory.path().join("out.ckpt"));
    std::fs::write(&file, bytes).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(size.max(bytes.len()) as u64).unwrap();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", r#"ulimit -c 0; ulimit -d 200000 && exec "$@""#, "sh"]);
    let output =
        limited.arg(burn_ckpt_command().get_program()).arg("import").arg(file).arg(out).output().unwrap();
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.len() < 5000, "{error:.300}");
    error
}

#[test]
fn headers_and_indexes_beyond_their_limits_are_errors_before_they_take_memory() {
    let safetensors = |header: String| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let one = |name: &str, shape: &str| {
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}}}"#)
    };
    let long = "n".repeat(39_000_000);
    let objects = |count: usize| format!(r#"{{"weight_map":[{}0]}}"#, "{},".repeat(count));
    for (name, bytes, reason) in [
        ("a.safetensors", safetensors(one("w", &["1"; 1_700_000].join(","))), "more than 1600000 values"),
        ("a.safetensors", safetensors(one(&long.repeat(2), "1")), "41943040 are allowed"),
        ("a.safetensors", safetensors(one(&long, "1")), "describes 39000065 bytes"),
        ("a.index.json", objects(4_000_000).into_bytes(), "more than 201000 values"),
        (
            "a.index.json",
            format!(r#"{{"weight_map":{{"{long}":"a"}}}}"#).into_bytes(),
            "at most 25165824 bytes",
        ),
        ("a.index.json", format!(r#"{{"{}": 1"#, &long[..20_000_000]).into_bytes(), "not the index"),
    ] {
        let error = import_within_memory(name, &bytes, 0);
        assert!(error.contains(reason), "{error:.300}");
    }
}

#[test]
fn a_tensor_that_does_not_fit_into_memory_is_an_error() {
    let length = 300_000_000;
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{length}],"data_offsets":[0,{length}]}}}}"#);
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let error = import_within_memory("a.safetensors", &bytes, bytes.len() + length);
    assert!(error.contains("out of memory"), "{error:.300}");
}

#[test]
fn hyperparameters_from_a_pipe_or_a_huge_file_are_errors_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write_safetensors(&at("in"), r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    std::fs::File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
    for (name, says) in [("pipe", "cannot read"), ("huge", "1048576 are allowed")] {
        let output = import(&at("in"), &at("out.ckpt"), &["--hparams", &format!("@{}", at(name).display())]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
        assert!(!at("out.ckpt").exists());
    }
}

#[test]
fn cut_and_flipped_files_never_panic() {
    let directory = tempfile::tempdir().unwrap();
    let given = directory.path().join("inputs.json");
    std::fs::write(&given, Inputs::new().to_json().to_string()).unwrap();
    drop(run_script("save_model.py", &[directory.path(), &given]));
    let ours = save_as_model(directory.path(), "net.ckpt", &json!({}), Section::from_module(&Net::trained()));
    let exported = directory.path().join("ours.safetensors");
    stdout(&burn_ckpt(&[&"export", &ours, &exported]));

    let mut random = SplitMix64::new(11);
    for name in ["state.pt", "legacy.pt", "plain.safetensors", "ours.safetensors"] {
        let whole = std::fs::read(directory.path().join(name)).unwrap();
        import_bytes(&whole, name).unwrap();
        for _ in 0..40 {
            let length = random.below(whole.len() as u64) as usize;
            let cut = import_bytes(&whole[..length], &format!("{length} bytes of {name}"));
            assert!(cut.is_err(), "{length} bytes of {name} were imported");

            // A flipped bit may be one of a tensor's, which not every format can tell.
            let mut flipped = whole.clone();
            let place = random.below(whole.len() as u64) as usize;
            flipped[place] ^= 1 << random.below(8);
            let _ = import_bytes(&flipped, &format!("byte {place} of {name}"));
        }
        // Most of what can go wrong is in the beginning, where the lengths are.
        for _ in 0..40 {
            let mut flipped = whole.clone();
            let place = random.below(whole.len().min(3000) as u64) as usize;
            flipped[place] = random.below(256) as u8;
            let _ = import_bytes(&flipped, &format!("byte {place} of {name}"));
        }
    }
}
