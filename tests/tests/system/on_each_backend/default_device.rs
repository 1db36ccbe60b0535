//! No tensor of ours touches burn's default device, which is another one than the run's wherever a program is
//! built with several backends: card 0, or one without a driver.
//!
//! `BURN_DEVICE` names a device that does not exist, so burn panics wherever the default one is looked for.
//! While an optimizer is restored burn looks for it and leaves it alone, so resumes are tested in
//! `on_wgpu.rs`, with a default device that exists and cannot be used.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::backend;
use system_tests::programs::commands::{build, ended_with, stderr, stdout};
use system_tests::run_files::{checkpoints, metadata};

/// What burn says where the default device is looked for.
const PANIC: &str = "Unknown BURN_DEVICE override";
const PROGRAMS: [&str; 4] = ["char-lm", "default-device", "digits", "sample"];
const SHORT: &str = "--set limit_train_batches=6 --set limit_valid_batches=2";

fn program(name: &str, root: &Path, arguments: &str) -> Command {
    let mut command = Command::new(build(&PROGRAMS).join(name));
    command.current_dir(root).env("BURN_DEVICE", "none-of-these").arg("--backend").arg(backend::name());
    command.args(arguments.split_whitespace());
    command
}

/// Ends well, and never looked for the default device, also where a panic is caught.
fn ends_well(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = stdout(&output);
    assert!(!stderr(&output).contains(PANIC), "{}", stderr(&output));
    text
}

/// The judge can fail: burn's default device is looked for by the variable's name.
#[test]
fn burn_panics_where_the_default_device_is_looked_for() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(build(&PROGRAMS).join("default-device"));
    command.current_dir(root.path());
    assert!(stdout(&command.env("BURN_DEVICE", "flex").output().unwrap()).contains("Flex"));
    let output = command.env("BURN_DEVICE", "none-of-these").output().unwrap();
    let (_, said) = ended_with(&output, 101);
    assert!(said.contains(PANIC), "{said}");
}

#[test]
fn training_evaluating_and_predicting_leave_the_default_device_alone() {
    let root = tempfile::tempdir().unwrap();
    let train = |more: &str| {
        let flags = format!("--root . {SHORT} --save-every-steps 4 --epochs 2 {more}");
        ends_well(program("digits", root.path(), &flags))
    };
    train("--run-id r1 --set grads_accumulation=2 --predictions p.csv --evaluate best");
    assert!(std::fs::read_to_string(root.path().join("p.csv")).unwrap().lines().count() > 1);
    let last = checkpoints(root.path()).join("last.ckpt");
    assert_eq!(metadata(&last)["global_step"], 6);
    // A new run with the weights of the first, on two devices.
    train(&format!("--run-id r2 --set init_from=\"{}\" {}", last.display(), two_devices()));
}

/// The device of the tests twice, as `--device` takes it.
fn two_devices() -> String {
    let name = if backend::is_flex() { "cpu".to_owned() } else { format!("{}:0", backend::name()) };
    format!("--device {name} --device {name}")
}

#[test]
fn the_finders_leave_the_default_device_alone() {
    let root = tempfile::tempdir().unwrap();
    // Of the process, or of the device's allocator alone. The rates are tried with the size that is found.
    let limit = if backend::is_flex() { "400MiB" } else { "20MiB" };
    let flags = format!(
        "--root . --find-lr lr.csv --find-batch-size sizes.csv --memory-limit {limit} --set channels=2"
    );
    let text = ends_well(program("digits", root.path(), &flags));
    assert!(text.contains("learning_rate"), "{text}");
    assert!(root.path().join("lr.csv").exists() && root.path().join("sizes.csv").exists());
}

#[test]
fn a_text_model_is_trained_and_writes_without_the_default_device() {
    let root = tempfile::tempdir().unwrap();
    let small = "--set width=16 --set layers=1 --set heads=2 --set context=8 --set windows_per_epoch=16 \
                 --set valid_windows=8";
    ends_well(program("char-lm", root.path(), &format!("--root . --run-id r1 --epochs 1 {small}")));
    let last = checkpoints(root.path()).join("last.ckpt");
    let hparams: &Value = &metadata(&last)["hparams"];
    assert_eq!(hparams["width"], 16);
    let path = last.display().to_string();
    ends_well(program("sample", root.path(), &format!("{path} --tokens 5")));
}
