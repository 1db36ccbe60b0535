//! Checkpoints that earlier versions wrote: they load, and their runs resume.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use system_tests::programs::commands::{build, burn_ckpt, ended_with, stdout, workspace};
use system_tests::run_files::metadata;
use tempfile::TempDir;

/// Largest relative difference to what another processor computed, with other vector instructions.
const CLOSE: f64 = 1e-3;

/// The versions of the format, each with files of its own.
const VERSIONS: [&str; 2] = ["v1", "v2"];

fn golden(version: &str) -> PathBuf {
    workspace().join("tests/golden").join(version)
}

fn programs() -> PathBuf {
    build(&["digits", "char-lm", "sample", "native-inference"])
}

fn expected(version: &str, key: &str) -> Value {
    let text = fs::read_to_string(golden(version).join("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let found = all.as_object().unwrap().iter().find(|(name, _)| name.starts_with(key));
    found.unwrap_or_else(|| panic!("expected.json has no {key}")).1.clone()
}

fn run(program: &str, directory: &Path, arguments: &[&str]) -> Output {
    Command::new(programs().join(program)).args(arguments).current_dir(directory).output().unwrap()
}

/// A copy of a golden run, with its links, below `burn_trainer_logs` of a new directory.
fn copy_of(version: &str, run: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let logs = root.path().join("burn_trainer_logs");
    fs::create_dir(&logs).unwrap();
    let output = Command::new("cp").arg("-a").arg(golden(version).join(run)).arg(&logs).output().unwrap();
    stdout(&output);
    root
}

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= CLOSE * expected.abs().max(1e-3), "{found} is not {expected}");
}

fn probabilities(version: &str, checkpoint: &str) -> Vec<f64> {
    let image = workspace().join("examples/native-inference/images/3.png");
    let image = image.to_str().unwrap();
    let printed = stdout(&run("native-inference", &golden(version), &[checkpoint, image, "--json"]));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    printed[0]["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect()
}

/// Resumes a copy of a golden run from its `last` to the end of the epoch, and compares metrics with the
/// values that the golden run reached there. Not the loss: those of the golden runs are means over batches.
fn resumes(version: &str, run_id: &str, epochs: &str, best: &str, metrics: [&str; 2], step: u64) -> String {
    let root = copy_of(version, run_id);
    let arguments = ["--run-id", run_id, "--ckpt-path", "last", "--epochs", epochs];
    let setting = r#"strategies=[{"kind":"last"}]"#;
    // Hyperparameters are the program's to give: those of the golden run, which its checkpoint has.
    let hparams = metadata(&golden(version).join(run_id).join("checkpoint/last.ckpt"))["hparams"].clone();
    let hparams = hparams.as_object().unwrap().iter().map(|(name, value)| format!("{name}={value}"));
    let settings: Vec<String> = hparams.chain([setting.to_owned()]).collect();
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let all: Vec<&str> = arguments.into_iter().chain(settings).collect();
    let (_, warned) = ended_with(&run(run_id, root.path(), &all), 0);

    let checkpoint = root.path().join("burn_trainer_logs").join(run_id).join("checkpoint");
    let resumed = metadata(&checkpoint.join("last.ckpt"));
    assert_eq!(resumed["global_step"], step);
    let golden = metadata(&golden(version).join(run_id).join("checkpoint").join(best));
    assert_eq!(golden["global_step"], step);
    for name in metrics {
        let [found, expected] = [&resumed, &golden].map(|of| of["metrics"][name].as_f64().unwrap());
        assert_close(found, expected);
    }
    let (_, said) = ended_with(&burn_ckpt(&[&"verify", &checkpoint.join("last.ckpt")]), 0);
    assert!(said.contains("all verified"), "{said}");
    warned
}

#[test]
fn the_files_are_those_that_were_written() {
    for version in VERSIONS {
        let output = Command::new("sha256sum")
            .args(["-c", "SHA256SUMS"])
            .current_dir(golden(version))
            .output()
            .unwrap();
        assert_eq!(stdout(&output).lines().filter(|line| line.ends_with(": OK")).count(), 6, "{version}");
    }
}

#[test]
fn each_of_them_passes_a_verification() {
    for version in VERSIONS {
        let paths = ["digits", "char-lm", "imported/digits.ckpt"].map(|name| golden(version).join(name));
        let (printed, said) = ended_with(&burn_ckpt(&[&"verify", &paths[0], &paths[1], &paths[2]]), 0);
        assert_eq!(
            printed.lines().filter(|line| line.starts_with("verified ")).count(),
            6,
            "{printed}{said}"
        );
    }
}

#[test]
fn trained_imported_and_weights_only_files_load_as_the_model_that_was_saved() {
    for version in VERSIONS {
        let expected = expected(version, "digits");
        let expected: Vec<f64> =
            expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        for checkpoint in
            ["digits/best", "digits/checkpoint/weights/epoch=0-step=45.ckpt", "imported/digits.ckpt"]
        {
            let found = probabilities(version, checkpoint);
            assert_eq!(found.len(), expected.len());
            found.iter().zip(&expected).for_each(|(found, expected)| assert_close(*found, *expected));
        }
        // Another state is another model: the comparison can fail.
        let other = probabilities(version, "digits/last");
        assert!(other.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 10.0 * CLOSE), "{other:?}");
    }
}

#[test]
fn the_language_model_writes_what_it_wrote() {
    let arguments = ["char-lm/best", "--prompt", "And Jesus said", "--tokens", "40", "--seed", "7"];
    for version in VERSIONS {
        let output = run("sample", &golden(version), &[&arguments[..], &["--temperature", "1"]].concat());
        stdout(&output);
        let hex: String = output.stdout.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(expected(version, "char-lm"), hex, "{version}");
    }
}

#[test]
fn a_run_resumes_from_the_middle_of_an_epoch() {
    for version in VERSIONS {
        resumes(version, "digits", "1", "best/epoch=0-step=45.ckpt", ["val_accuracy", "train_accuracy"], 45);
    }
}

#[test]
fn a_run_with_a_schedule_resumes_from_the_middle_of_its_second_epoch() {
    for version in VERSIONS {
        let warned = resumes(
            version,
            "char-lm",
            "2",
            "best/epoch=1-step=16.ckpt",
            ["val_perplexity", "train_learning_rate"],
            16,
        );
        // These were trained with burn's schedule. The program's has the same rate there.
        let other = "another kind of learning-rate scheduler; this program's continues at step 16";
        assert!(warned.contains(other) && !warned.contains("the learning rate of step"), "{warned}");
    }
}
