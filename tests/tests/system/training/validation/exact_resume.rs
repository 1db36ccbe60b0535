//! A run that validates within epochs and is interrupted anywhere ends as one that was not.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, EarlyStopping, Ema, GradientGuard, NonFinite, ReduceOnPlateau,
};
use burn_trainer::config::Validation;
use burn_trainer::lr_scheduler::scaled;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{ResumableDataLoader, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Batch, Counting, ItemBatcher, Model, Poison, Script, config, items, shuffling,
};
use system_tests::run_files::{checkpoints, compare, run_dir};

use super::root;

/// Fails in a method, in the validation with a number.
#[derive(Default)]
struct Failing {
    at: Option<(&'static str, u64)>,
    /// Validations that this process has begun.
    begun: u64,
}

impl Failing {
    fn reach(&self, method: &'static str) -> CallbackResult {
        if self.at == Some((method, self.begun)) { Err("told to fail".into()) } else { Ok(()) }
    }
}

impl Callback<Model> for Failing {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    fn on_validation_start(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.begun += 1;
        self.reach("on_validation_start")
    }

    fn on_validation_batches_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_validation_batches_end")
    }

    fn on_validation_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_validation_end")
    }

    fn on_epoch_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_epoch_end")
    }
}

type Data = fn() -> Arc<dyn DataLoader<Batch>>;

/// A run with all that follows validations.
#[derive(Clone, Copy)]
struct Run {
    validation: Validation,
    accumulation: usize,
    devices: usize,
    train: Data,
    valid: Data,
    /// Of a validation set `hard`, if there is one.
    hard: Option<Data>,
}

fn resumable() -> Arc<dyn DataLoader<Batch>> {
    shuffling(BATCH)
}

/// The same items in another order.
fn reshuffled() -> Arc<dyn DataLoader<Batch>> {
    ResumableDataLoader::builder(ItemBatcher).batch_size(BATCH).shuffle(9).build(items())
}

/// burn's own, which draws a new order in each pass.
fn burns() -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(ItemBatcher).batch_size(BATCH).shuffle(3).build(items())
}

impl Run {
    /// On one device, with loaders that begin anywhere.
    fn with(validation: Validation) -> Self {
        Self { validation, accumulation: 1, devices: 1, train: resumable, valid: resumable, hard: None }
    }

    fn watched(self) -> &'static str {
        if self.hard.is_some() { "val_hard_loss" } else { "val_loss" }
    }

    fn fit(self, config: TrainerConfig, script: Script, failing: Failing) -> burn_trainer::Result<u64> {
        let config = config
            .with_validation(self.validation)
            .with_early_stopping(EarlyStopping::new(self.watched()).with_patience(50))
            .with_strategies([
                StrategyConfig::Best(Default::default()),
                StrategyConfig::Last(Last::new().with_every_n_steps(4)),
                StrategyConfig::OnException(Default::default()),
            ]);
        let device = backend::device().autodiff();
        let devices = vec![device.clone(); self.devices];
        let trainer = Trainer::new(config, &script.hparams())?
            .devices(devices)
            // Right before, in and right after a step that is validated.
            .callback(Poison::new(&[(0, 4), (0, 8), (1, 2)], f32::INFINITY))
            .callback(failing)
            .callback(Counting::default())
            .callback(
                GradientGuard::new()
                    .with_clip_norm(0.5)
                    .with_non_finite(NonFinite::Skip { most_in_a_row: 2 }),
            )
            .callback(Ema::new(0.9).with_start_step(2))
            .callback(
                ReduceOnPlateau::new(self.watched()).with_factor(0.5).with_patience(0).with_min_delta(1e9),
            );
        let trainer = match self.hard {
            Some(hard) => trainer.validation_set("hard", hard()),
            None => trainer,
        };
        let training = trainer.training((self.train)(), (self.valid)()).metrics((LossMetric::new(),));
        let training = match self.accumulation {
            1 => training,
            accumulation => training.grads_accumulation(accumulation),
        };
        let model = Model::new(script, &device);
        let learner = Learner::new(model, AdamConfig::new().init_streamed(), scaled(1e-2));
        Ok(trainer.fit(training, learner)?.global_step)
    }

    /// Compares a run that fails, by a script or a callback, and resumes, with one that does not.
    fn is_exact(self, failures: impl IntoIterator<Item = (Script, Failing)>) {
        let whole = root();
        self.fit(config(whole.path(), 3), Script::default(), Failing::default()).unwrap();
        for (script, failing) in failures {
            let parts = root();
            let what = format!("{:?}, {script:?}, {:?}", self.validation, failing.at);
            self.fit(config(parts.path(), 3), script, failing).unwrap_err();
            let again = config(parts.path(), 3).with_ckpt_path("auto");
            self.fit(again, Script::default(), Failing::default()).unwrap();
            compare(&run_dir(whole.path()), &run_dir(parts.path()))
                .unwrap_or_else(|reason| panic!("{what}: {reason}"));
            assert_eq!(last_parts(whole.path()), last_parts(parts.path()), "{what}");
        }
    }
}

/// The states of the callbacks in the last checkpoint.
fn last_parts(root: &Path) -> Vec<(String, Vec<Vec<u8>>)> {
    let checkpoint = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
    let names = ["counting", "gradient_guard", "ema", "reduce_on_plateau", "early_stopping"];
    let part = |name: &str| {
        let section = checkpoint.section(&format!("user.{name}")).unwrap();
        let tensors = section.tensors.iter().map(|tensor| tensor.to_bytes().unwrap().to_vec());
        (format!("{:?}", section.strings), tensors.collect())
    };
    names.map(part).into()
}

fn in_step(step: usize) -> (Script, Failing) {
    (Script { panic_in_step: Some(step), ..Script::default() }, Failing::default())
}

fn in_validation(batch: usize) -> (Script, Failing) {
    (Script { panic_in_validation: Some(batch), ..Script::default() }, Failing::default())
}

#[test]
fn with_a_failure_in_a_step() {
    // Before, in and after steps that are left out, validated, saved, and the last of an epoch.
    let steps = [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 21, 30];
    Run::with(Validation::every_n_steps(3)).is_exact(steps.map(in_step));
}

#[test]
fn with_a_failure_in_a_validation() {
    // The first validations have the batches 1 to 10, 11 to 20 and 21 to 30.
    let batches = [1, 5, 10, 11, 30, 31, 75];
    Run::with(Validation::every_n_steps(3)).is_exact(batches.map(in_validation));
}

#[test]
fn with_parts_of_epochs_and_accumulated_batches() {
    let by_part = Run::with(Validation::epoch_fraction(0.25));
    by_part.is_exact([in_step(5), in_step(6), in_step(10), in_step(15), in_validation(4), in_validation(33)]);
    let accumulating = Run { accumulation: 4, ..by_part };
    accumulating.is_exact([in_step(3), in_step(9), in_step(13), in_validation(4), in_validation(25)]);
}

#[test]
fn with_two_devices() {
    let two = Run { devices: 2, ..Run::with(Validation::every_n_steps(2)) };
    two.is_exact([in_step(5), in_step(13), in_step(29), in_validation(4), in_validation(25)]);
}

#[test]
fn with_burns_loader_of_the_validation_data() {
    // A pass over it is the next one, in whichever epoch.
    let burns = Run { valid: burns, ..Run::with(Validation::every_n_steps(3)) };
    burns.is_exact([in_step(12), in_step(20), in_validation(12), in_validation(25)]);
}

#[test]
fn with_a_validation_after_every_second_epoch() {
    let seldom = Run::with(Validation::every_n_epochs(2));
    seldom.is_exact([in_step(5), in_step(15), in_step(25), in_validation(4)]);
}

#[test]
fn at_the_end_of_an_epoch_that_is_not_validated() {
    let failing = |at| [(Script::default(), Failing { at: Some(at), ..Failing::default() })];
    Run::with(Validation::every_n_epochs(2)).is_exact(failing(("on_epoch_end", 0)));
    // The first epoch has 8 steps, and 3 on two devices.
    Run::with(Validation::every_n_steps(3)).is_exact(failing(("on_epoch_end", 2)));
    Run { devices: 2, ..Run::with(Validation::every_n_steps(2)) }.is_exact(failing(("on_epoch_end", 1)));
}

#[test]
fn after_a_callback_has_failed_in_a_validation() {
    let methods = ["on_validation_start", "on_validation_batches_end", "on_validation_end"];
    let failures = methods.into_iter().flat_map(|method| [1, 2, 5].map(|number| (method, number)));
    let failures = failures.map(|at| (Script::default(), Failing { at: Some(at), ..Failing::default() }));
    Run::with(Validation::every_n_steps(3)).is_exact(failures);
}

#[test]
fn with_a_second_validation_set() {
    // Each validation has 10 batches of the first set, and 10 of the second.
    let hard = Run { hard: Some(reshuffled), ..Run::with(Validation::every_n_steps(3)) };
    let in_validations = [5, 11, 15, 20, 31, 40].map(in_validation);
    hard.is_exact([4, 12].map(in_step).into_iter().chain(in_validations));
    let failures = [("on_validation_batches_end", 1), ("on_validation_end", 2)];
    hard.is_exact(failures.map(|at| (Script::default(), Failing { at: Some(at), ..Failing::default() })));
    // At the ends of epochs.
    let seldom = Run { validation: Validation::default(), ..hard };
    seldom.is_exact([in_step(15), in_validation(15), in_validation(40)]);
}

#[test]
fn with_a_second_validation_set_on_two_devices() {
    let two = Run { hard: Some(burns), devices: 2, ..Run::with(Validation::every_n_steps(2)) };
    two.is_exact([in_step(13), in_validation(4), in_validation(14), in_validation(38)]);
}

#[test]
fn when_the_run_validates_changes_no_random_number_of_the_training() {
    let losses = |validation: Validation| {
        let root = root();
        let run = Run::with(validation);
        let script = Script::default();
        let config = config(root.path(), 2).with_validation(run.validation);
        let trainer = Trainer::new(config, &script.hparams()).unwrap();
        let training = trainer.training(resumable(), resumable()).metrics((LossMetric::new(),));
        let device: Device = backend::device().autodiff();
        let learner = Learner::new(Model::new(script, &device), AdamConfig::new().init_streamed(), 1e-2);
        trainer.fit(training, learner).unwrap();
        [1, 2].map(|epoch| {
            std::fs::read_to_string(run_dir(root.path()).join(format!("train/epoch-{epoch}/Loss.log")))
                .unwrap()
        })
    };
    assert_eq!(losses(Validation::default()), losses(Validation::every_n_steps(1)));
}
