//! The search for a learning rate: what it finds, its files, and that a run after it is as if it had not
//! been.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::optim::{AdamConfig, SgdConfig};
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use burn_trainer::finders::{LearningRateFinder, LearningRateSweep, NoSuggestion, SweepEnd};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Error, Result, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Batch, Counting, Model, STEPS_PER_EPOCH, Script, config, loader, shuffling,
};
use system_tests::run_files::{compare, files, in_memory, run_dir};

fn model(script: Script) -> Model {
    Model::new(script, &backend::device().autodiff())
}

fn search(
    finder: LearningRateFinder,
    train: &Arc<dyn DataLoader<Batch>>,
    script: Script,
) -> Result<LearningRateSweep> {
    let root = in_memory();
    let trainer = Trainer::new(config(root.path(), 1), &script.hparams())?;
    trainer.find_learning_rate(finder, train, &model(script), &SgdConfig::new().init())
}

/// Trains two epochs, after a search if there is a finder.
fn train(root: &Path, devices: usize, finder: Option<LearningRateFinder>) {
    let script = Script::default();
    let trainer = Trainer::new(config(root, 2), &script.hparams()).unwrap();
    let trainer = trainer.devices((0..devices).map(|_| backend::device())).callback(Counting::default());
    let (data, model) = (shuffling(BATCH), model(script));
    let optimizer = AdamConfig::new().init_streamed();
    if let Some(finder) = finder {
        let before = files(root);
        let sweep = trainer.find_learning_rate(finder, &data, &model, &optimizer).unwrap();
        assert!(sweep.rates.len() > 5 && sweep.rates[0].loss.is_finite());
        assert_eq!(files(root), before, "the search writes nothing");
    }
    let training: SupervisedTraining<Model> = trainer.training(Arc::clone(&data), data);
    let training = training.metrics((LossMetric::new(),)).grads_accumulation(2);
    trainer.fit(training, Learner::new(model, optimizer, 1e-2)).unwrap();
}

#[test]
fn a_run_after_a_search_ends_with_the_same_bytes_as_one_without() {
    for devices in [1, 2] {
        let (without, with) = (in_memory(), in_memory());
        train(without.path(), devices, None);
        // Over several epochs, with divergence, and batches that are added up.
        let finder =
            LearningRateFinder::new().with_range(1e-4, 1e3).with_steps(40).with_grads_accumulation(2);
        train(with.path(), devices, Some(finder));
        compare(&run_dir(without.path()), &run_dir(with.path())).unwrap();
    }
}

#[test]
fn a_rate_is_suggested_between_those_that_change_nothing_and_those_that_diverge() {
    let data = shuffling(BATCH);
    let sweep = search(LearningRateFinder::new().with_range(1e-6, 1e4), &data, Script::default()).unwrap();
    let rate = sweep.suggestion().unwrap_or_else(|reason| panic!("{reason}\n{}", sweep.to_csv()));
    assert!(rate > 1e-4 && rate < 10.0, "{rate} {sweep}");
    let SweepEnd::Diverged { learning_rate } = sweep.end else { panic!("{sweep}") };
    assert!(rate < learning_rate, "{sweep}");
    // The same again: batches, random numbers and the model are those of the first search.
    let again = search(LearningRateFinder::new().with_range(1e-6, 1e4), &data, Script::default()).unwrap();
    assert_eq!(again, sweep);

    let directory = in_memory();
    sweep.write_csv(directory.path().join("rates.csv")).unwrap();
    sweep.write_svg(directory.path().join("rates.svg")).unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("rates.csv").lines().count(), 1 + sweep.rates.len());
    assert!(read("rates.svg").contains("suggested learning rate"));
    let error = sweep.write_csv(directory.path().join("rates.csv/below")).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(burn_ckpt::Error::Io { .. })), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_sweep_and_too_few_losses_have_no_suggestion() {
    let data = shuffling(BATCH);
    let finder = LearningRateFinder::new().with_range(1e10, 1e300).with_steps(20).with_divergence(1e300);
    let sweep = search(finder, &data, Script::default()).unwrap();
    assert!(matches!(sweep.end, SweepEnd::NotFinite { .. }), "{sweep}");
    let few = search(LearningRateFinder::new().with_steps(3), &data, Script::default()).unwrap();
    assert_eq!((few.end, few.rates.len()), (SweepEnd::AtTheHighest, 3));
    assert_eq!(few.suggestion(), Err(NoSuggestion::TooFewLosses { losses: 3 }));
}

#[test]
fn what_a_step_uses_follows_from_devices_and_accumulation() {
    // Each epoch has 10 batches: with three in a step there are four steps, of which the last has one.
    let data = shuffling(BATCH);
    let finder = LearningRateFinder::new().with_range(1e-9, 1e-8).with_steps(8);
    let single = search(finder.clone(), &data, Script::default()).unwrap();
    let added = search(finder.with_grads_accumulation(3), &data, Script::default()).unwrap();
    let mean = |losses: &[burn_trainer::finders::SweepPoint]| {
        losses.iter().map(|rate| rate.loss).sum::<f64>() / losses.len() as f64
    };
    assert!((added.rates[0].loss - mean(&single.rates[..3])).abs() < 1e-6, "{added:?} {single:?}");
    assert_eq!((single.rates.len(), added.rates.len(), STEPS_PER_EPOCH), (8, 8, 10));
}

/// The losses of a search whose rates change nothing, with the settings of a run.
fn losses_with(set: impl FnOnce(TrainerConfig) -> TrainerConfig) -> Result<Vec<f64>> {
    let (root, script) = (in_memory(), Script::default());
    let trainer = Trainer::new(set(config(root.path(), 1)), &script.hparams())?;
    let finder = LearningRateFinder::new().with_range(1e-20, 1e-19).with_steps(12);
    let sweep =
        trainer.find_learning_rate(finder, &shuffling(BATCH), &model(script), &SgdConfig::new().init())?;
    Ok(sweep.rates.into_iter().map(|rate| rate.loss).collect())
}

#[test]
fn a_search_begins_with_the_weights_and_trains_on_the_batches_that_the_run_would() {
    let all = losses_with(|config| config).unwrap();
    assert_ne!(all[0], all[1]);
    // The second epoch begins with the eleventh batch.
    let one = losses_with(|config| config.with_limit_train_batches(1)).unwrap();
    assert_eq!(one[..2], [all[0], all[STEPS_PER_EPOCH]]);
    let same = losses_with(|config| config.with_overfit_batches(1)).unwrap();
    assert_eq!(same, [all[0]; 12]);
    let half = losses_with(|config| config.with_limit_train_batches(0.5)).unwrap();
    assert_eq!((&half[..5], half[5]), (&all[..5], all[STEPS_PER_EPOCH]));

    let pretrained = in_memory();
    let epochs = config(pretrained.path(), 3);
    system_tests::train(epochs).unwrap();
    let last = run_dir(pretrained.path()).join("last");
    let begun = losses_with(|config| config.with_init_from(&last)).unwrap();
    assert!(begun[0] < all[0], "{begun:?} {all:?}");
    let error = losses_with(|config| config.with_init_from("nowhere/best")).unwrap_err();
    let Error::Checkpoint(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), burn_ckpt::ErrorKind::NotFound, "{error}");
}

#[test]
fn errors_of_data_settings_and_steps_are_typed() {
    let finder = LearningRateFinder::new;
    let data = |script: &Script| loader(script);
    let empty = Script { batches: Some(0), ..Script::default() };
    let error = search(finder(), &data(&empty), Script::default()).unwrap_err();
    assert!(matches!(error, Error::NoBatch { .. }), "{error}");
    let failing = Script { loader_fails_at: Some(4), ..Script::default() };
    let error = search(finder(), &data(&failing), Script::default()).unwrap_err();
    assert!(matches!(error, Error::Training { .. }), "{error}");
    let panicking = Script { panic_in_step: Some(3), ..Script::default() };
    let error = search(finder(), &data(&Script::default()), panicking).unwrap_err();
    assert!(
        matches!(&error, Error::Panicked { message, .. } if message.contains("told to panic")),
        "{error}"
    );
    let error =
        search(finder().with_range(1.0, 0.1), &data(&Script::default()), Script::default()).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "range"), "{error}");
}
