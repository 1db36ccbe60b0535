//! A run with callbacks that is interrupted anywhere ends as one that was not.

use std::path::Path;

use burn::train::metric::LossMetric;
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, Ema, GradientGuard, Gradients, NonFinite,
};
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::models::small::{
    BATCH, Counting, Model, Poison, Script, config, learner, loader, shuffling,
};
use system_tests::run_files::{checkpoints, compare, in_memory, run_dir};

fn with_callbacks(trainer: Trainer<Model>) -> Trainer<Model> {
    trainer
        .callback(Poison::new(&[(0, 4), (0, 5), (0, 10), (1, 2)], f32::INFINITY))
        .callback(
            GradientGuard::new()
                .with_clip_norm(0.5)
                .with_clip_value(0.4)
                .with_non_finite(NonFinite::Skip { most_in_a_row: 2 }),
        )
        .callback(Counting::default())
        .callback(Ema::new(0.9).with_start_step(2).with_every_n_steps(2))
}

fn settings(root: &Path) -> TrainerConfig {
    config(root, 3).with_strategies([
        StrategyConfig::Best(Default::default()),
        StrategyConfig::Last(Last::new()),
        StrategyConfig::OnException(Default::default()),
    ])
}

/// Compares what the runs left: the last state with all its parts, and the metric files.
fn is_as(whole: &Path, parts: &Path, what: &str) {
    compare(&run_dir(whole), &run_dir(parts)).unwrap_or_else(|reason| panic!("{what}: {reason}"));
    let last = |root: &Path| {
        let checkpoint = Checkpoint::open(checkpoints(root).join("last.ckpt")).unwrap();
        let part = |name: &str| {
            let section = checkpoint.section(name).unwrap();
            let tensors = section.tensors.iter().map(|tensor| tensor.to_bytes().unwrap().to_vec());
            (section.strings.clone(), tensors.collect::<Vec<_>>())
        };
        ["user.counting", "user.ema", "user.gradient_guard"].map(part)
    };
    assert_eq!(last(whole), last(parts), "{what}");
}

/// Over how many batches a step accumulates on each of how many devices.
#[derive(Clone, Copy)]
struct Steps {
    accumulation: usize,
    devices: usize,
}

impl Steps {
    fn of(accumulation: usize) -> Self {
        Self { accumulation, devices: 1 }
    }
}

/// Trains with the callbacks.
fn train(root: &Path, steps: Steps, script: Script, resumes: bool) -> burn_trainer::Result<(u64, u64)> {
    let Steps { accumulation, devices } = steps;
    let config = match resumes {
        true => settings(root).with_ckpt_path("auto"),
        false => settings(root),
    };
    let mut trainer = with_callbacks(Trainer::new(config, &script.hparams())?);
    let mut train = loader(&script);
    if devices > 1 {
        trainer = trainer.devices((0..devices).map(|_| backend::device()));
        // burn would split the other one between the devices.
        train = shuffling(BATCH);
    }
    let training = trainer.training(train, loader(&Script::default())).metrics((LossMetric::new(),));
    let training = if accumulation > 1 { training.grads_accumulation(accumulation) } else { training };
    let result = trainer.fit(training, learner(script))?;
    Ok((result.global_step, result.epochs))
}

fn is_exact(of: Steps, steps: u64, scripts: impl IntoIterator<Item = Script>) {
    let whole = in_memory();
    let done = train(whole.path(), of, Script::default(), false).unwrap();
    assert_eq!(done, (steps, 3));
    for script in scripts {
        let parts = in_memory();
        let what = format!("{script:?}");
        train(parts.path(), of, script, false).unwrap_err();
        train(parts.path(), of, Script::default(), true).unwrap();
        is_as(whole.path(), parts.path(), &what);
    }
}

fn failing_in(step: usize) -> Script {
    Script { panic_in_step: Some(step), ..Script::default() }
}

#[test]
fn with_a_failure_in_any_step_or_validation() {
    let validations =
        [1, 7, 10, 11, 25].map(|at| Script { panic_in_validation: Some(at), ..Script::default() });
    // Four of the thirty steps are left out.
    is_exact(Steps::of(1), 26, (1..=30).map(failing_in).chain(validations));
}

#[test]
fn with_a_failure_within_an_optimizer_step_of_several_batches() {
    // Of ten batches: two steps of four, and one of two. One is left out: its last batch is the fourth of the
    // first epoch.
    is_exact(Steps::of(4), 7, (2..=29).step_by(3).map(failing_in));
}

#[test]
fn on_two_devices() {
    let validations = [1, 15, 25].map(|at| Script { panic_in_validation: Some(at), ..Script::default() });
    // Five steps an epoch, of two batches each. Three are left out: those that end with batches 4 and 10 of
    // the first epoch, and 2 of the second.
    let scripts = (2..=29).step_by(3).map(failing_in).chain(validations);
    is_exact(Steps { accumulation: 1, devices: 2 }, 12, scripts);
    // Two steps an epoch: of four batches on each device, and of the rest.
    is_exact(Steps { accumulation: 4, devices: 2 }, 5, [5, 9, 16].map(failing_in));
}

/// Fails in one of its methods.
struct Failing {
    method: &'static str,
    panics: bool,
}

impl Failing {
    fn reach(&self, method: &str, context: &CallbackContext<'_, Model>) -> CallbackResult {
        if method != self.method || context.epoch() != 1 || context.batch() < 6 {
            return Ok(());
        }
        assert!(!self.panics, "told to panic");
        Err("told to fail".into())
    }
}

impl Callback<Model> for Failing {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        _: &burn::train::RegressionOutput,
    ) -> CallbackResult {
        self.reach("on_train_batch_end", context)
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        _: &mut Gradients<'_, Model>,
    ) -> CallbackResult {
        self.reach("on_before_optimizer_step", context)
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_train_step_end", context)
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_validation_start", context)
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_validation_batches_end", context)
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_validation_end", context)
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.reach("on_epoch_end", context)
    }
}

#[test]
fn after_a_callback_has_failed_in_any_of_its_methods() {
    let whole = in_memory();
    train(whole.path(), Steps::of(1), Script::default(), false).unwrap();
    let methods = [
        "on_train_batch_end",
        "on_before_optimizer_step",
        "on_train_step_end",
        "on_validation_start",
        "on_validation_batches_end",
        "on_validation_end",
        "on_epoch_end",
    ];
    for (method, panics) in methods.into_iter().flat_map(|method| [(method, false), (method, true)]) {
        let parts = in_memory();
        let failing = Failing { method, panics };
        let trainer =
            Trainer::new(settings(parts.path()), &Script::default().hparams()).unwrap().callback(failing);
        let trainer = with_callbacks(trainer);
        let script = Script::default();
        let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
        assert!(trainer.fit(training, learner(script)).is_err(), "{method}");
        train(parts.path(), Steps::of(1), Script::default(), true).unwrap();
        is_as(whole.path(), parts.path(), &format!("{method}, panics: {panics}"));
    }
}
