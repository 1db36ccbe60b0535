//! A program that was written for burn's own loop sets epochs and checkpoints on `SupervisedTraining`. A run
//! has them in its own configuration: what is set there all the same is an error, or a warning, and never
//! changes what the run resumes. `docs/from-burn.md` has such a program, and what it is here.

use std::path::Path;

use burn::data::dataloader::DataLoaderBuilder;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn::train::metric::LossMetric;
use burn::train::{Learner, SupervisedTraining};
use burn_ckpt::FromCheckpoint;
use burn_trainer::metric::MeanLoss;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{Model, Script, config, keeping_every_epoch, train, train_with};
use system_tests::programs::test_alone::{run_alone, said_alone};
use system_tests::run_files::{checkpoints, described_state, files, in_memory, last_epochs};

use crate::on_each_backend::from_lightning::{INPUTS, Regressor, RegressorConfig, RowBatcher, rows};

type Training = SupervisedTraining<Model>;

fn with(config: TrainerConfig, set_up: impl FnOnce(Training) -> Training) -> Result<FitResult<Model>> {
    train_with(config, Script::default(), |training| set_up(training.metrics((LossMetric::new(),))))
}

/// Has the directory, in the process that the test starts.
const ROOT: &str = "TEST_BURNS_CHECKPOINTERS_IN";

#[test]
fn a_run_with_burns_checkpointers_resumes_to_the_same_state_and_says_that_they_do_nothing() {
    let Some(root) = std::env::var_os(ROOT) else {
        let root = in_memory();
        let test = "a_run_with_burns_checkpointers_resumes_to_the_same_state_and_says_that_they_do_nothing";
        let said = said_alone(module_path!(), test, ROOT, root.path());
        let warning = "warning: burn's checkpointers save and load nothing in this run: ";
        assert_eq!(said.matches(warning).count(), 2, "once a start: {said}");
        return;
    };
    let (whole, parts) = (Path::new(&root).join("whole"), Path::new(&root).join("parts"));
    train(keeping_every_epoch(&whole, 3)).unwrap();
    for epochs in [1, 3] {
        let result = with(keeping_every_epoch(&parts, epochs), Training::with_default_checkpointers);
        assert_eq!(result.unwrap().epochs, epochs as u64);
    }
    assert_eq!(last_epochs(&whole), last_epochs(&parts));
    for stem in last_epochs(&whole) {
        let state = |root: &Path| described_state(&checkpoints(root).join(format!("last/{stem}.ckpt")));
        assert_eq!(state(&whole), state(&parts), "{stem}");
    }
    assert!(files(&parts).iter().all(|name| !name.ends_with(".bpk")), "burn has saved nothing");
}

/// The setting that an error names, and its reason. Nothing was trained.
fn wrong(set_up: impl FnOnce(Training) -> Training) -> (String, String) {
    let root = in_memory();
    let result = with(config(root.path(), 3), set_up);
    let Err(Error::Config { setting, reason }) = result else { panic!("it has trained") };
    assert!(files(root.path()).iter().all(|name| !name.contains(".ckpt")));
    (setting, reason)
}

#[test]
fn epochs_that_are_not_those_of_the_run_are_an_error_before_the_first_step() {
    let (setting, reason) = wrong(|training| training.num_epochs(20));
    assert_eq!(setting, "SupervisedTraining::num_epochs");
    assert!(reason.contains("20") && reason.contains("max_epochs is 3"), "{reason}");

    let root = in_memory();
    let same = |epochs: usize| {
        with(config(root.path(), epochs).with_ckpt_path("auto"), |training| training.num_epochs(epochs))
    };
    assert_eq!(same(2).unwrap().epochs, 2);
    assert_eq!(same(3).unwrap().epochs, 3, "resumed");
}

#[test]
fn a_checkpoint_of_burns_to_resume_is_an_error_before_the_first_step() {
    let (setting, reason) = wrong(|training| training.checkpoint(2));
    assert_eq!(setting, "SupervisedTraining::checkpoint");
    assert!(reason.contains("ckpt_path"), "{reason}");
}

#[test]
fn a_fast_dev_run_has_one_epoch_whatever_the_program_says() {
    let root = in_memory();
    let trial = config(root.path(), 20).with_fast_dev_run(true);
    assert_eq!(with(trial, |training| training.num_epochs(20)).unwrap().epochs, 1);
}

fn with_burns_loop(directory: &Path, hparams: &RegressorConfig, device: &Device) -> Regressor {
    let loader = || DataLoaderBuilder::new(RowBatcher).batch_size(8);
    let training =
        SupervisedTraining::new(directory, loader().shuffle(42).build(rows(40)), loader().build(rows(10)))
            .metrics((LossMetric::new(),))
            .with_default_checkpointers()
            .num_epochs(10);
    let model = Regressor::from_hparams(hparams, device);
    training.launch(Learner::new(model, AdamConfig::new().init(), 1e-3)).model
}

fn with_the_trainer(
    directory: &Path,
    hparams: &RegressorConfig,
    device: Device,
) -> Result<FitResult<Regressor>> {
    let config = TrainerConfig::new()
        .with_root(directory)
        .with_run_id("r1")
        .with_primary_metric("val_loss") // with_default_checkpointers
        .with_max_epochs(10) // num_epochs
        .with_ckpt_path("auto"); // started again, it resumes
    let trainer = Trainer::new(config, hparams)?;
    let device = trainer.device(device)?;
    let loader = || trainer.loader(RowBatcher).batch_size(8);
    let training = trainer
        .training(loader().shuffled().build(rows(40)), loader().build(rows(10)))
        .metrics((MeanLoss::new(),));
    let model = Regressor::from_hparams(hparams, &device);
    trainer.fit(training, Learner::new(model, AdamConfig::new().init_streamed(), 1e-3))
}

/// Has the directory, in the process that the next test starts: burn's loop draws on a terminal.
const PAGE: &str = "TEST_PROGRAMS_OF_THE_PAGE_IN";

#[test]
fn the_programs_of_the_page_train_and_weights_that_burn_has_saved_are_loaded() {
    let Some(root) = std::env::var_os(PAGE) else {
        let root = in_memory();
        let test = "the_programs_of_the_page_train_and_weights_that_burn_has_saved_are_loaded";
        return run_alone(module_path!(), test, PAGE, root.path());
    };
    let directory = Path::new(&root);
    let hparams = RegressorConfig::new(INPUTS).with_hidden(8).with_dropout(0.0);
    let device = backend::device();
    let trained = with_burns_loop(directory, &hparams, &device.clone().autodiff());
    let result = with_the_trainer(directory, &hparams, device.clone()).unwrap();
    assert_eq!((result.epochs, result.global_step), (10, 50));

    let model = Regressor::from_hparams(&hparams, &device);
    let model = model.load_file(directory.join("checkpoint/model-10.bpk"));
    let answer = |model: &Regressor| model.forward(Tensor::ones([2, INPUTS], &device)).into_data();
    assert_eq!(answer(&model), answer(&trained));
    assert_ne!(answer(&model), answer(&result.model), "another run");
}
