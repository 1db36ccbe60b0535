//! Several validation sets by name: each has the numbers of its own data, wherever the metrics of the main
//! one are.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::Dataset;
use burn::data::dataset::transform::PartialDataset;
use burn::train::InferenceStep;
use burn::train::metric::LossMetric;
use burn_ckpt::FromCheckpoint;
use burn_trainer::callbacks::EarlyStopping;
use burn_trainer::config::{ValidateAtStart, Validation};
use burn_trainer::metric::MeanLoss;
use burn_trainer::strategy::{Best, StrategyConfig, TopK};
use burn_trainer::{Error, FitResult, Result, ResumableDataLoader, Trainer, TrainerConfig};
use serde_json::Value;
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Batch, Item, ItemBatcher, Model, Script, ScriptedMetric, config, items, learner, shuffling,
};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::run_files::{checkpoints, compare, metadata, run_dir, stems};

use super::{keeping_steps, metrics_by_step, root};

/// The last items of the data, from this number on.
fn part(from: usize) -> PartialDataset<burn::data::dataset::InMemDataset<Item>, Item> {
    PartialDataset::new(items(), from, items().len())
}

/// 17 items in batches of 7: the last one is smaller.
fn hard() -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(7).build(part(63))
}

/// 4 items.
fn noisy() -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(4).build(part(76))
}

/// Trains the small model with two more validation sets.
fn train(config: TrainerConfig, script: Script) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &script.hparams())?;
    let trainer = trainer.validation_set("hard", hard()).validation_set("noisy", noisy());
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((MeanLoss::new(),));
    trainer.fit(training, learner(script))
}

/// The loss of a checkpoint's model on items, computed here.
fn loss_of(checkpoint: &Path, items: &dyn Dataset<Item>) -> f64 {
    let device = backend::device();
    let model = Model::from_checkpoint(checkpoint, &device).unwrap();
    let items: Vec<Item> = (0..items.len()).map(|number| items.get(number).unwrap()).collect();
    let output = InferenceStep::step(&model, ItemBatcher.batch(items, &device));
    let [outputs, targets] =
        [output.output, output.targets].map(|tensor| tensor.into_data().try_to_vec::<f32>().unwrap());
    let squares = outputs.iter().zip(&targets).map(|(output, target)| f64::from(output - target).powi(2));
    squares.sum::<f64>() / outputs.len() as f64
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn text(root: &Path, file: &str) -> String {
    std::fs::read_to_string(run_dir(root).join(file)).unwrap()
}

#[test]
fn each_set_has_the_numbers_of_its_own_data() {
    let root = root();
    let result = train(config(root.path(), 2).with_strategies(keeping_steps(20)), Script::default()).unwrap();
    for (stem, epoch) in [("epoch=0-step=10", 1), ("epoch=1-step=20", 2)] {
        let checkpoint = checkpoints(root.path()).join(format!("last/{stem}.ckpt"));
        let metrics = metadata(&checkpoint)["metrics"].clone();
        let names: Vec<&String> = metrics.as_object().unwrap().keys().collect();
        assert_eq!(names, ["train_loss", "val_loss", "val_hard_loss", "val_noisy_loss"]);
        for (name, items, file) in [
            ("val_loss", &items() as &dyn Dataset<Item>, "Loss"),
            ("val_hard_loss", &part(63), "hard_Loss"),
            ("val_noisy_loss", &part(76), "noisy_Loss"),
        ] {
            let (logged, expected) = (metrics[name].as_f64().unwrap(), loss_of(&checkpoint, items));
            assert!(close(logged, expected), "{name} of {stem} is {logged}, and {expected} is true");
            let lines = text(root.path(), &format!("valid/epoch-{epoch}/{file}.log"));
            assert_eq!(lines.lines().last().unwrap(), format!("{logged},final"), "{lines}");
        }
    }
    assert_eq!(text(root.path(), "valid/epoch-1/hard_Loss.log").lines().count(), 4, "three batches");
    let last = metadata(&checkpoints(root.path()).join("last.ckpt"));
    for (name, value) in &result.metrics {
        assert_eq!(last["metrics"][name.as_str()], *value, "{name}");
    }
    assert!(!run_dir(root.path()).join("train/epoch-1/hard_Loss.log").exists());
}

#[test]
fn the_main_set_and_the_training_are_as_without_them() {
    let (with, without) = (root(), root());
    let config = |root: &Path| config(root, 2).with_validation(Validation::every_n_steps(4));
    train(config(with.path()), Script::default()).unwrap();
    let trainer = Trainer::new(config(without.path()), &Script::default().hparams()).unwrap();
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((MeanLoss::new(),));
    trainer.fit(training, learner(Script::default())).unwrap();
    for file in ["train/epoch-2/Loss.log", "valid/epoch-1/Loss.log", "valid/epoch-2/Loss.log"] {
        assert_eq!(text(with.path(), file), text(without.path(), file), "{file}");
    }
    let learner = |root: &Path| {
        let tensors = metadata(&checkpoints(root).join("last.ckpt"))["tensors"].clone();
        let Value::Object(mut tensors) = tensors else { panic!("{tensors}") };
        // The history has the metrics of all sets.
        tensors.retain(|name, _| !name.starts_with("history."));
        tensors
    };
    assert_eq!(learner(with.path()), learner(without.path()));
}

#[test]
fn a_validation_within_an_epoch_writes_the_values_of_all_sets_and_a_save_has_only_its_own() {
    let root = root();
    let config = config(root.path(), 2).with_validation(Validation::every_n_steps(6));
    train(config.with_strategies(keeping_steps(3)), Script::default()).unwrap();
    let all = ["train_loss", "val_loss", "val_hard_loss", "val_noisy_loss"];
    for (step, names) in metrics_by_step(root.path(), "last") {
        let expected = if [6, 12, 18].contains(&step) { &all[..] } else { &all[..1] };
        assert_eq!(names, expected, "step {step}");
    }
    let rows = text(root.path(), "valid/epoch-2/validations.jsonl");
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), [12, 18]);
    let lines = burn_ckpt::metrics_log::read(run_dir(root.path())).unwrap();
    let logged: Vec<_> =
        lines.map(|line| line.unwrap()).filter(|line| line.metrics.contains_key("val_loss")).collect();
    assert_eq!(logged.iter().map(|line| line.step).collect::<Vec<_>>(), [6, 12, 18]);
    assert!(logged.iter().all(|line| line.metrics.keys().eq(&all[1..])), "{logged:?}");
    for row in rows {
        let checkpoint = checkpoints(root.path())
            .join(format!("last/epoch=1-step={}.ckpt", row["step"].as_u64().unwrap()));
        for name in &all[1..] {
            assert_eq!(row[*name], metadata(&checkpoint)["metrics"][*name], "{name}");
        }
        assert!(close(row["val_hard_loss"].as_f64().unwrap(), loss_of(&checkpoint, &part(63))));
    }
}

#[test]
fn a_set_that_fails_leaves_the_values_of_the_validation_before_and_none_as_its_own() {
    let root = root();
    // Of 10, 3 and 1 batches in a validation: the second batch of `hard` in the second one.
    let script = Script { panic_in_validation: Some(14 + 12), ..Script::default() };
    let config = config(root.path(), 2).with_validation(Validation::every_n_steps(6));
    let config = config.with_primary_metric("val_hard_loss");
    train(config.with_strategies(keeping_steps(20)), script).unwrap_err();
    assert_eq!(metrics_by_step(root.path(), "on_exception"), [(12, vec!["train_loss".to_owned()])]);
    let [stem] = &stems(&checkpoints(root.path()).join("on_exception"))[..] else { panic!() };
    let saved = checkpoints(root.path()).join(format!("on_exception/{stem}.ckpt"));
    let state: Value = burn_ckpt::Checkpoint::open(saved).unwrap().trainer_state().unwrap();
    let best = metadata(&checkpoints(root.path()).join("best_val_hard_loss.ckpt"));
    for name in ["val_loss", "val_hard_loss", "val_noisy_loss"] {
        assert_eq!(state["metrics"][name], best["metrics"][name], "{name}");
    }
}

/// Trains with a metric `Score` that has these values: on the main set, on `hard`, on the main set, ..
fn scored(config: TrainerConfig, scores: &[f64]) -> FitResult<Model> {
    let trainer = Trainer::new(config, &Script::default().hparams()).unwrap().validation_set("hard", hard());
    let metric = ScriptedMetric::new("Score", scores).at_the_end_only();
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metric_valid_numeric(metric);
    trainer.fit(training, learner(Script::default())).unwrap()
}

#[test]
fn what_is_best_and_when_a_run_ends_follows_the_set_that_a_setting_names() {
    let root = root();
    let mut config = config(root.path(), 9).with_primary_metric("val_hard_score");
    config.early_stopping = Some(EarlyStopping::new("val/hard Score").with_patience(2));
    config.end_with = burn_trainer::config::EndWith::Best;
    let best =
        StrategyConfig::Best(Best::new().with_topk(TopK::Count(2)).with_filename("{val_hard_score:.1}"));
    let config = config.with_strategies([best, StrategyConfig::Last(Default::default())]);
    // The main set is best at the end.
    let result = scored(config, &[9.0, 3.0, 8.0, 1.0, 7.0, 2.0, 6.0, 4.0]);
    assert!(result.outcome.is_early_stop());
    assert_eq!((result.epochs, result.metrics["val_score"], result.metrics["val_hard_score"]), (4, 6.0, 4.0));
    assert_eq!(stems(&checkpoints(root.path()).join("best")), ["1.0", "2.0"]);
    let best = metadata(&checkpoints(root.path()).join("best_val_hard_score.ckpt"));
    assert_eq!((&best["global_step"], &best["metrics"]["val_hard_score"]), (&20.into(), &1.0.into()));
    assert_eq!(best["metrics"]["val_score"], 8.0);
    assert!(result.model_checkpoint.unwrap().ends_with("best/1.0.ckpt"));
}

#[test]
fn the_program_lists_prunes_and_shows_by_them() {
    let root = root();
    train(config(root.path(), 3).with_strategies(keeping_steps(10)), Script::default()).unwrap();
    let listed = stdout(&burn_ckpt(&[&"ls", &run_dir(root.path())]));
    assert!(listed.contains("val_hard_loss") || listed.contains("val_hard"), "{listed}");
    let shown = stdout(&burn_ckpt(&[&"show", &checkpoints(root.path()).join("last.ckpt")]));
    assert!(shown.contains("val_noisy_loss"), "{shown}");
    stdout(&burn_ckpt(&[
        &"prune",
        &run_dir(root.path()),
        &"--keep",
        &"best=val_noisy_loss:1",
        &"--mode",
        &"min",
    ]));
    assert!(metrics_by_step(root.path(), "last").len() < 3);
}

#[test]
fn what_is_tried_before_the_first_step_is_tried_on_each_set_and_leaves_nothing() {
    let run = |at_start: ValidateAtStart| {
        let root = root();
        train(config(root.path(), 1).with_validate_at_start(at_start), Script::default()).unwrap();
        root
    };
    let (without, tried) = (run(ValidateAtStart::Off), run(ValidateAtStart::Batches(2)));
    compare(&run_dir(without.path()), &run_dir(tried.path())).unwrap_or_else(|reason| panic!("{reason}"));
    // Two batches of the main set, two of `hard`, and the only one of `noisy`.
    for (batch, is_tried) in [(2, true), (4, true), (5, true), (6, false)] {
        let root = root();
        let script = Script { panic_in_validation: Some(batch), panic_in_step: Some(1), ..Script::default() };
        let config = config(root.path(), 1).with_validate_at_start(ValidateAtStart::Batches(2));
        let Err(Error::Panicked { message, .. }) = train(config, script) else { panic!() };
        assert_eq!(message.contains("the validation step"), is_tried, "{batch}: {message}");
    }
}

#[test]
fn the_state_of_the_start_is_validated_on_each_set() {
    let root = root();
    train(config(root.path(), 1).with_validate_at_start(ValidateAtStart::Whole), Script::default()).unwrap();
    let rows = text(root.path(), "valid/epoch-1/validations.jsonl");
    let first: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert!(
        first["step"] == 0 && first["val_hard_loss"].is_f64() && first["val_noisy_loss"].is_f64(),
        "{rows}"
    );
}

#[test]
fn a_fast_dev_run_has_a_batch_of_each_set() {
    let root = root();
    let result = train(config(root.path(), 3).with_fast_dev_run(true), Script::default()).unwrap();
    assert!(result.metrics.contains_key("val_hard_loss"), "{:?}", result.metrics);
    let script = Script { panic_in_validation: Some(4), ..Script::default() };
    train(config(root.path(), 3).with_fast_dev_run(true), script).unwrap();
}

#[test]
fn burns_own_metric_of_batches_is_kept_apart_too() {
    let root = root();
    let trainer = Trainer::new(config(root.path(), 1), &Script::default().hparams()).unwrap();
    let trainer = trainer.validation_set("noisy", noisy());
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    let result = trainer.fit(training, learner(Script::default())).unwrap();
    let noisy = loss_of(&checkpoints(root.path()).join("last.ckpt"), &part(76));
    assert!(close(result.metrics["val_noisy_loss"], noisy), "{:?}", result.metrics);
}
