//! `Evaluation::keep`: a file beside the checkpoint, which is deleted with it and belongs to it alone.

use std::path::{Path, PathBuf};

use burn_trainer::Error;
use burn_trainer::evaluation::{Evaluation, ModelEvaluator, evaluate};
use burn_trainer::metric::MeanLoss;
use system_tests::backend;
use system_tests::config;
use system_tests::models::small::{Model, Script, learner, loader, train, train_and_keep_all};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::run_files::{checkpoints, run_dir};

fn evaluated(checkpoint: &Path, split: &str) -> Evaluation {
    let evaluator = ModelEvaluator::<Model>::of_checkpoint(checkpoint, &backend::device()).unwrap();
    evaluator.split(split).evaluate(loader(&Script::default()), (MeanLoss::new(),)).unwrap()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The files of evaluations in a run's directories.
fn evaluations(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in ["best", "last"] {
        for entry in std::fs::read_dir(checkpoints(root).join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".evaluation.json") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_newest_evaluation_on_data_of_each_name_is_kept_with_the_digest_of_its_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let best = run_dir(root.path()).join("best");
    let file = evaluated(&best, "test").keep().unwrap();
    // A link's evaluation is kept beside the file that it leads to.
    assert_eq!(file.file_name().unwrap(), "epoch=0-step=10.ckpt.evaluation.json");
    assert_eq!(evaluations(root.path()).len(), 1);
    evaluated(&best, "val").keep().unwrap();
    let test = evaluated(&best, "test");
    assert_eq!(test.keep().unwrap(), file);

    let kept = Evaluation::kept(&best).unwrap();
    assert_eq!(kept.iter().map(|kept| kept.split.as_str()).collect::<Vec<_>>(), ["val", "test"]);
    assert_eq!(kept[1], test);
    let json = json(&file);
    assert_eq!(json["checkpoint_path"], "epoch=0-step=10.ckpt");
    assert_eq!(json["checkpoint_checksum"], test.checkpoint.unwrap().checksum);
    assert_eq!(json["evaluations"][1]["metrics"]["test_loss"].as_f64(), Some(test.metrics["test_loss"]));
    assert_eq!(json["evaluations"][1]["items"], 80);

    // The run is listed and verified as before: the file is not taken for a checkpoint.
    let listed = stdout(&burn_ckpt(&[&"ls", &run_dir(root.path())]));
    assert!(!listed.contains("evaluation"), "{listed}");
    stdout(&burn_ckpt(&[&"verify", &run_dir(root.path())]));
}

#[test]
fn it_is_deleted_with_its_checkpoint_by_a_run_by_prune_and_by_overwrite() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    evaluated(&run_dir(root.path()).join("last"), "test").keep().unwrap();
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    assert_eq!(evaluations(root.path()), Vec::<PathBuf>::new());

    evaluated(&run_dir(root.path()).join("last"), "test").keep().unwrap();
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    assert_eq!(evaluations(root.path()), Vec::<PathBuf>::new());

    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[2.0, 1.0], 1).unwrap();
    let (first, second) = ("last/epoch=0-step=10.ckpt", "last/epoch=1-step=20.ckpt");
    for checkpoint in [first, second] {
        evaluated(&checkpoints(root.path()).join(checkpoint), "test").keep().unwrap();
    }
    stdout(&burn_ckpt(&[&"prune", &run_dir(root.path()), &"--keep", &"last=1"]));
    let left = evaluations(root.path());
    assert_eq!(left, [checkpoints(root.path()).join(format!("{second}.evaluation.json"))]);
}

#[test]
fn an_evaluation_of_another_state_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[1.0, 2.0], 1).unwrap();
    let at = |name: &str| checkpoints(root.path()).join("last").join(name);
    let file = evaluated(&at("epoch=0-step=10.ckpt"), "test").keep().unwrap();
    let other = at("epoch=1-step=20.ckpt.evaluation.json");
    std::fs::copy(&file, &other).unwrap();
    assert_eq!(Evaluation::kept(at("epoch=1-step=20.ckpt")).unwrap(), []);
    evaluated(&at("epoch=1-step=20.ckpt"), "val").keep().unwrap();
    let kept = Evaluation::kept(at("epoch=1-step=20.ckpt")).unwrap();
    assert_eq!(kept.len(), 1, "that of the other state is replaced");

    std::fs::write(&other, "{\"checkpoint_path\": 3}").unwrap();
    let error = Evaluation::kept(at("epoch=1-step=20.ckpt")).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, Error::Checkpoint(burn_ckpt::Error::Metadata { .. })), "{said}");
    assert!(said.contains("epoch=1-step=20.ckpt.evaluation.json") && said.contains("delete it"), "{said}");
    evaluated(&at("epoch=1-step=20.ckpt"), "val").keep().unwrap();
    assert_eq!(Evaluation::kept(at("epoch=1-step=20.ckpt")).unwrap().len(), 1);
}

#[test]
fn a_model_without_a_checkpoint_or_whose_checkpoint_is_gone_keeps_nothing() {
    let model = learner(Script::default()).model();
    let evaluation = evaluate(&model, loader(&Script::default()), (MeanLoss::new(),)).unwrap();
    let error = evaluation.keep().unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");

    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let evaluation = evaluated(&run_dir(root.path()).join("last"), "test");
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    let error = evaluation.keep().unwrap_err();
    let Error::Checkpoint(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), burn_ckpt::ErrorKind::NotFound);
    assert_eq!(evaluations(root.path()), Vec::<PathBuf>::new());
}
