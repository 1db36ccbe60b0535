//! Evaluations of a mirrored run: those that are kept while it trains, after it, and by `--evaluate`.

use std::fs;
use std::path::Path;

use burn_trainer::cli::EvaluateArgs;
use burn_trainer::evaluation::{Evaluation, ModelEvaluator};
use burn_trainer::metric::MeanLoss;
use system_tests::backend;
use system_tests::models::small::{Model, Script, loader};
use system_tests::run_files::run_dir;
use system_tests::train;

use super::{lose_disk, memory_store, mirrored};

fn evaluated(checkpoint: &Path, split: &str) -> Evaluation {
    let evaluator = ModelEvaluator::<Model>::of_checkpoint(checkpoint, &backend::device()).unwrap();
    evaluator.split(split).evaluate(loader(&Script::default()), (MeanLoss::new(),)).unwrap()
}

#[test]
fn an_evaluation_of_a_mirrored_run_outlives_its_disk() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:evaluations";
    let _store = memory_store(address);
    let config = mirrored(root.path(), 1, address);
    let result = train(config.clone()).unwrap();
    let [best, last] = ["best", "last"].map(|name| run_dir(root.path()).join(name));
    // By `--evaluate`, once training has ended.
    let mut arguments = EvaluateArgs::default();
    arguments.evaluate = Some("best".into());
    arguments
        .print_result(Ok(result), &config, "program", |checkpoint, _| Ok(evaluated(checkpoint, "test")))
        .unwrap();
    // And by a program that knows nothing of the mirror: the next start sends it.
    let of_last = evaluated(&last, "other").keep().unwrap();
    assert!(train(config.clone()).unwrap().finished_before);
    let kept = [&best, &last].map(|path| Evaluation::kept(path).unwrap());
    assert!(kept.iter().all(|kept| !kept.is_empty()), "{kept:?}");
    let bytes = fs::read(&of_last).unwrap();

    lose_disk(root.path());
    assert!(train(config).unwrap().finished_before);
    assert_eq!([&best, &last].map(|path| Evaluation::kept(path).unwrap()), kept);
    assert_eq!(fs::read(&of_last).unwrap(), bytes);
}

#[test]
fn an_evaluation_after_training_is_in_the_mirror_without_another_start() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:evaluated-once";
    let _store = memory_store(address);
    let config = mirrored(root.path(), 1, address);
    let result = train(config.clone()).unwrap();
    let mut arguments = EvaluateArgs::default();
    arguments.evaluate = Some("best".into());
    arguments
        .print_result(Ok(result), &config, "program", |checkpoint, _| Ok(evaluated(checkpoint, "test")))
        .unwrap();
    lose_disk(root.path());
    assert!(train(config).unwrap().finished_before);
    let kept = Evaluation::kept(run_dir(root.path()).join("best")).unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
}
