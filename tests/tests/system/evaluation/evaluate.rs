//! `ModelEvaluator` and `evaluate`: the numbers are those of a validation, come back as values, and name
//! their checkpoint.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::transform::PartialDataset;
use burn::train::metric::LossMetric;
use burn_ckpt::{Checkpoint, FromCheckpoint};
use burn_trainer::callbacks::Ema;
use burn_trainer::config::BatchLimit;
use burn_trainer::evaluation::{Evaluation, ModelEvaluator, evaluate};
use burn_trainer::metric::MeanLoss;
use burn_trainer::{Error, FitResult, ResumableDataLoader, Trainer};
use serde_json::Value;
use system_tests::backend;
use system_tests::config;
use system_tests::models::small::{
    Batch, ItemBatcher, Model, Script, ScriptedMetric, items, learner, loader, shuffling,
};
use system_tests::programs::commands::sha256sum;
use system_tests::run_files::{checkpoints, metadata, run_dir};

/// 80 items in batches of 7, the last of which has 3.
fn in_order() -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(7).build(items())
}

fn trained(root: &Path) -> FitResult<Model> {
    let script = Script::default();
    let trainer = Trainer::new(config(root, 2), &script.hparams()).unwrap();
    let training = trainer.training(shuffling(7), in_order()).metrics((MeanLoss::new(),));
    trainer.fit(training, learner(script)).unwrap()
}

#[test]
fn a_checkpoints_numbers_are_those_of_the_validation_that_it_was_saved_after() {
    let root = tempfile::tempdir().unwrap();
    let result = trained(root.path());
    let path = run_dir(root.path()).join("best");
    let evaluator = ModelEvaluator::<Model>::of_checkpoint(&path, &backend::device()).unwrap();
    let evaluation = evaluator.split("val").evaluate(in_order(), (MeanLoss::new(),)).unwrap();
    let file = std::fs::canonicalize(checkpoints(root.path()).join("best_val_loss.ckpt")).unwrap();
    assert_eq!(evaluation.metrics["val_loss"], metadata(&file)["metrics"]["val_loss"].as_f64().unwrap());
    assert_eq!((evaluation.items, evaluation.split.as_str()), (80, "val"));
    assert!(evaluation.seconds > 0.0);
    let checkpoint = evaluation.checkpoint.unwrap();
    assert_eq!(std::fs::canonicalize(&checkpoint.path).unwrap(), file);
    assert_eq!(checkpoint.checksum, format!("sha256:{}", sha256sum(&file).unwrap()));

    // The model of this process, as it is at the end.
    let evaluation = evaluate(&result.model, in_order(), (MeanLoss::new(), LossMetric::new())).unwrap_err();
    let Error::Config { reason, .. } = evaluation else { panic!("{evaluation}") };
    assert!(reason.contains("Loss"), "two metrics of one name: {reason}");
    let evaluation = evaluate(&result.model, in_order(), (MeanLoss::new(),)).unwrap();
    assert_eq!(evaluation.metrics["test_loss"], result.metrics["val_loss"]);
    assert!(evaluation.checkpoint.is_none());
}

#[test]
fn averaged_parameters_are_evaluated_as_the_validation_did() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let trainer = Trainer::new(config(root.path(), 2), &script.hparams()).unwrap().callback(Ema::new(0.9));
    let training = trainer.training(shuffling(7), in_order()).metrics((MeanLoss::new(),));
    trainer.fit(training, learner(script)).unwrap();
    let (path, device) = (run_dir(root.path()).join("best"), backend::device());
    let expected = Checkpoint::open(&path).unwrap().metadata().unwrap().metrics["val_loss"];

    let averaged = Model::loader(&path).part("ema").load(&device).unwrap();
    let averaged = ModelEvaluator::of_loaded(&averaged).unwrap().evaluate(in_order(), (MeanLoss::new(),));
    let averaged = averaged.unwrap();
    assert_eq!(averaged.metrics["test_loss"], expected);
    let mut again = ModelEvaluator::<Model>::of_checkpoint(&path, &device).unwrap();
    assert_eq!(again.evaluate(in_order(), (MeanLoss::new(),)).unwrap().metrics, averaged.metrics);
    let mut raw = ModelEvaluator::of_loaded(&Model::loader(&path).load(&device).unwrap()).unwrap();
    let raw = raw.evaluate(in_order(), (MeanLoss::new(),)).unwrap();
    assert_ne!(raw.metrics["test_loss"], expected, "the parameters that are trained are others");

    // Both are kept, and say of which weights they are.
    averaged.keep().unwrap();
    raw.keep().unwrap();
    let kept = Evaluation::kept(&path).unwrap();
    assert_eq!(kept.iter().map(|kept| kept.part.as_deref()).collect::<Vec<_>>(), [Some("ema"), None]);
    assert_eq!(kept, [averaged, raw]);
}

#[test]
fn a_limit_evaluates_the_first_batches_and_is_kept_with_the_numbers() {
    let root = tempfile::tempdir().unwrap();
    let model = trained(root.path()).model;
    let limited = |limit: BatchLimit, loader: Arc<dyn DataLoader<Batch>>| {
        ModelEvaluator::new(&model).limit_batches(limit).evaluate(loader, (MeanLoss::new(),))
    };
    let first =
        ResumableDataLoader::builder(ItemBatcher).batch_size(7).build(PartialDataset::new(items(), 0, 21));
    let expected = evaluate(&model, first, (MeanLoss::new(),)).unwrap().metrics;
    // 12 batches, of which a quarter is 3.
    for limit in [BatchLimit::Count(3), BatchLimit::Fraction(0.25)] {
        let evaluation = limited(limit, in_order()).unwrap();
        assert_eq!((evaluation.items, evaluation.limit_batches), (21, Some(3)));
        assert_eq!(evaluation.metrics, expected);
    }
    let whole = limited(BatchLimit::Count(100), in_order()).unwrap();
    assert_eq!(whole.metrics, evaluate(&model, in_order(), (MeanLoss::new(),)).unwrap().metrics);

    let burns = || DataLoaderBuilder::new(ItemBatcher).batch_size(7).build(items());
    assert_eq!(limited(BatchLimit::Count(3), burns()).unwrap().metrics, expected);
    let wrong = [
        (limited(BatchLimit::Fraction(0.25), burns()), "a fraction of all batches"),
        (limited(BatchLimit::Fraction(1.5), in_order()), "1.5 is not a fraction"),
        (limited(BatchLimit::Count(0), in_order()), "nothing to evaluate"),
    ];
    for (result, expected) in wrong {
        let Err(Error::Config { reason, setting, .. }) = result else { panic!("{expected}") };
        assert!(reason.contains(expected) && setting.contains("limit_batches"), "{setting}: {reason}");
    }

    let path = run_dir(root.path()).join("best");
    let evaluator = ModelEvaluator::<Model>::of_checkpoint(&path, &backend::device()).unwrap();
    let evaluation = evaluator.limit_batches(2_u64).evaluate(in_order(), (MeanLoss::new(),)).unwrap();
    let kept: Value = serde_json::from_slice(&std::fs::read(evaluation.keep().unwrap()).unwrap()).unwrap();
    assert_eq!(kept["evaluations"][0]["limit_batches"], 2);
    assert_eq!(Evaluation::kept(&path).unwrap()[0].limit_batches, Some(2));
    // Ten batches are all of them: nothing is left out.
    let evaluator = ModelEvaluator::<Model>::of_checkpoint(&path, &backend::device()).unwrap();
    let evaluation = evaluator.limit_batches(1000_u64).evaluate(in_order(), (MeanLoss::new(),)).unwrap();
    assert_eq!(evaluation.limit_batches, None);
}

#[test]
fn a_single_file_without_metadata_beside_it_has_its_digest_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    trained(root.path());
    let copy = root.path().join("copy.ckpt");
    std::fs::copy(checkpoints(root.path()).join("last.ckpt"), &copy).unwrap();
    let mut evaluator = ModelEvaluator::<Model>::of_checkpoint(&copy, &backend::device()).unwrap();
    let checkpoint = evaluator.evaluate(in_order(), (MeanLoss::new(),)).unwrap().checkpoint.unwrap();
    assert_eq!(checkpoint.checksum, format!("sha256:{}", sha256sum(&copy).unwrap()));
}

#[test]
fn a_run_is_evaluated_while_another_part_of_the_process_holds_it() {
    let root = tempfile::tempdir().unwrap();
    trained(root.path());
    let held = Trainer::<Model>::new(config(root.path(), 3).with_ckpt_path("auto"), &()).unwrap();
    let path = held.run_dir().join("last");
    let mut evaluator = ModelEvaluator::<Model>::of_checkpoint(path, &backend::device()).unwrap();
    assert!(evaluator.evaluate(in_order(), (MeanLoss::new(),)).unwrap().metrics["test_loss"].is_finite());
}

#[test]
fn a_model_in_training_mode_is_evaluated_in_validation_mode() {
    let model = learner(Script::default()).model();
    let loss = |model: &Model| evaluate(model, in_order(), (MeanLoss::new(),)).unwrap().metrics["test_loss"];
    // Batch normalisation would use each batch's own statistics, and change the running ones.
    let first = loss(&model);
    assert_eq!(loss(&model), first);
    assert_eq!(loss(&burn::module::Module::valid(&model)), first);
}

#[test]
fn a_metric_has_its_final_value_also_if_it_has_none_before_the_end_and_was_used_before() {
    let model = learner(Script::default()).model();
    let at_the_end = ScriptedMetric::new("At The End", &[0.75]).at_the_end_only();
    let mut used = MeanLoss::new();
    let mut evaluator = ModelEvaluator::new(&model).split("Test Set 2");
    let evaluation = evaluator.evaluate(in_order(), (used.clone(), at_the_end)).unwrap();
    assert_eq!(evaluation.metrics.keys().collect::<Vec<_>>(), ["test_set_2_loss", "test_set_2_at_the_end"]);
    assert_eq!(evaluation.metrics["test_set_2_at_the_end"], 0.75);

    let input = burn_trainer::metric::MeanLossInput::new(
        burn::tensor::Tensor::from_floats([1e6], &backend::device()),
        1_000_000,
    );
    let progress = burn::data::dataloader::Progress::new(1, 1, None);
    let metadata = burn::train::metric::MetricMetadata { progress, iteration: None, lr: None };
    burn::train::metric::Metric::update(&mut used, &input, &metadata).unwrap();
    let again = evaluator.evaluate(in_order(), (used,)).unwrap();
    assert_eq!(again.metrics["test_set_2_loss"], evaluation.metrics["test_set_2_loss"]);
}

#[test]
fn what_stops_an_evaluation_is_an_error_that_names_it() {
    let model = learner(Script::default()).model();
    let evaluate = |loader, metric| ModelEvaluator::new(&model).evaluate(loader, (metric,));
    let score = || ScriptedMetric::new("Score", &[0.5]);
    let failing = loader(&Script { loader_fails_at: Some(3), ..Script::default() });
    let Err(Error::Evaluation { part, source }) = evaluate(failing, score()) else { panic!() };
    assert_eq!(part, "the data loader");
    assert!(source.to_string().contains("the disk with the data is gone"), "{source}");

    let Err(Error::Evaluation { part, source }) = evaluate(in_order(), score().failing()) else { panic!() };
    assert_eq!(part, "the metric Score");
    assert!(source.is::<burn::tensor::TensorReadError>(), "{source}");

    let nothing = loader(&Script { batches: Some(0), ..Script::default() });
    let Err(Error::NoBatch { split, .. }) = evaluate(nothing, score()) else { panic!() };
    assert_eq!(split, "test");

    let unnamed = ModelEvaluator::new(&model).split("--").evaluate(in_order(), (score(),));
    let Err(Error::Config { setting, .. }) = unnamed else { panic!() };
    assert_eq!(setting, "the name of the data");
}
