//! The example of fine-tuning: the frozen layers stay, the new one learns, and the best average is evaluated.

use std::path::Path;
use std::process::Command;

use system_tests::programs::commands::{build, ended_with, stderr, stdout, workspace};
use system_tests::run_files::metadata;

/// Lines of `main` and of the function that trains.
const LINES: usize = 60;

fn run(directory: &Path) -> (String, String) {
    let output = Command::new(build(&["finetune"]).join("finetune")).current_dir(directory).output().unwrap();
    (stdout(&output), stderr(&output))
}

#[test]
fn it_learns_the_cosine_with_the_frozen_layers_of_the_sine_and_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let (printed, said) = run(directory.path());
    let loss: f64 = printed.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(loss < 0.01, "{printed}");
    let cosine: f64 = printed.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((cosine - 1.0_f64.cos()).abs() < 0.1, "{printed}");
    assert!(said.contains("epoch 40/40"), "{said}");

    let best = |run: &str| {
        let path = directory.path().join(format!("burn_trainer_logs/{run}/checkpoint/best_val_loss.ckpt"));
        metadata(&path)["tensors"].clone()
    };
    let (pretrained, tuned) = (best("pretrain"), best("finetune"));
    for tensor in ["input.weight", "input.bias", "hidden.weight", "hidden.bias"] {
        // The best model of the first run is its average.
        let averaged = &pretrained[format!("user.ema.{tensor}")]["blake3"];
        assert!(averaged.is_string());
        assert_eq!(*averaged, tuned[format!("model.{tensor}")]["blake3"], "{tensor} is frozen");
    }
    assert_ne!(pretrained["model.output.weight"], tuned["model.output.weight"]);

    let (again, said) = run(directory.path());
    assert_eq!(again, printed);
    assert!(!said.contains("epoch 1/40"), "{said}");
}

#[test]
fn what_is_not_the_model_and_its_data_is_short() {
    let source = std::fs::read_to_string(workspace().join("examples/finetune/src/main.rs")).unwrap();
    let start = source.find("fn main()").unwrap();
    let end = source.find("/// The hyperparameters.").unwrap();
    let lines = source[start..end].lines().count();
    assert!(lines <= LINES, "{lines} lines");
}

#[test]
fn a_program_without_flags_refuses_arguments() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["--epochs", "1"][..], &["--help"], &["x"]] {
        let mut command = Command::new(build(&["finetune"]).join("finetune"));
        let output = command.args(arguments).current_dir(directory.path()).output().unwrap();
        let (printed, said) = ended_with(&output, 2);
        assert!(printed.is_empty() && said.starts_with("usage: finetune ("), "{said}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
