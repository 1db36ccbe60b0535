//! The documents say what is so.

use std::path::Path;

use burn::tensor::Device;
use burn_ckpt::FromCheckpoint;
use digits::{Digits, DigitsConfig};

fn read(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(workspace.join(path)).unwrap()
}

/// The README's lines, which compile as they stand there.
#[allow(unused_variables)]
fn loaded_as_the_readme_does(device: Device) -> burn_ckpt::Result<(Digits, DigitsConfig)> {
    let model = Digits::from_checkpoint("runs/a/checkpoint/best_val_loss.ckpt", &device)?;
    let model = Digits::from_checkpoint_with("runs/a/best", &device, |h| h.with_dropout(0.0))?;
    let hparams = Digits::hparams_from_checkpoint("runs/a/last")?;
    Ok((model, hparams))
}

#[test]
fn the_readmes_lines_need_a_run() {
    let error = loaded_as_the_readme_does(Device::flex()).unwrap_err();
    assert!(matches!(error, burn_ckpt::Error::Io { .. }), "{error}");
}

#[test]
fn the_readmes_programs_are_the_examples() {
    let readme = read("README.md");
    let programs: Vec<&str> =
        readme.split("```rust\n").skip(1).map(|text| text.split("```").next().unwrap()).collect();
    let [training, implementation, lines, inference] = programs[..] else {
        panic!("{} programs", programs.len())
    };
    assert!(implementation.contains("impl FromCheckpoint for"));
    assert!(read("examples/digits/src/model.rs").contains(implementation), "{implementation}");
    assert_eq!(lines.lines().count(), 3);
    let compiled = include_str!("documents.rs");
    assert!(lines.lines().all(|line| compiled.contains(&format!("\n    {line}\n"))), "{lines}");
    assert!(training.contains("trainer.fit(training, learner)"));
    assert!(read("examples/digits/src/main.rs").contains(training), "{training}");
    assert!(inference.contains("model.classify("));
    assert!(read("examples/native-inference/src/main.rs").contains(inference), "{inference}");
}

#[test]
fn every_source_file_says_what_it_owns() {
    fn check(directory: &Path, seen: &mut usize) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, seen);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("//! "), "{}", path.display());
                *seen += 1;
            }
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for directory in [
        "bench",
        "burn-ckpt",
        "burn-environment",
        "burn-environment-build",
        "burn-serve",
        "burn-trainer",
        "examples",
        "tests",
        "xtask",
    ] {
        check(&workspace.join(directory), &mut seen);
    }
    assert!(seen > 50, "{seen}");
}
