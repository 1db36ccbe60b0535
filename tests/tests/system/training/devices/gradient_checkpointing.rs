//! Activations that are computed again in the backward pass: the same numbers as without, on one device and
//! on several, resumed and in a search.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::AdamConfig;
use burn::tensor::{Device, GradientCheckpointingStrategy, Tensor};
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use burn_trainer::finders::LearningRateFinder;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::models::small::{BATCH, Model, Script, shuffling};
use system_tests::run_files::in_memory;
use system_tests::{backend, config};

use super::digests;

const EPOCHS: usize = 2;

/// What the parameters and statistics are in each step.
#[derive(Clone, Default)]
struct Strategies(Arc<Mutex<Vec<Option<GradientCheckpointingStrategy>>>>);

impl Callback<Model> for Strategies {
    fn name(&self) -> String {
        "strategies".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        context.model().visit(&mut Seen(&mut self.0.lock()));
        Ok(())
    }
}

struct Seen<'a>(&'a mut Vec<Option<GradientCheckpointingStrategy>>);

impl ModuleVisitor for Seen<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().gradient_checkpointing_strategy());
    }
}

/// Trains a model that is made on the trainer's device, after a search of a learning rate.
fn train(config: TrainerConfig, devices: usize, script: Script) -> Result<(FitResult<Model>, Strategies)> {
    let seen = Strategies::default();
    let trainer = Trainer::new(config, &script.hparams())?
        .devices((0..devices).map(|_| backend::device()))
        .callback(seen.clone());
    let model = Model::new(script, &trainer.device(backend::device())?);
    let optimizer = AdamConfig::new().init_streamed();
    let finder = LearningRateFinder::new().with_steps(6);
    trainer.find_learning_rate(finder, &shuffling(BATCH), &model, &optimizer)?;
    let training = trainer
        .training(shuffling(BATCH), shuffling(BATCH))
        .metrics((LossMetric::new(),))
        .grads_accumulation(2);
    Ok((trainer.fit(training, Learner::new(model, optimizer, 1e-2))?, seen))
}

fn last(root: &Path) -> impl PartialEq + std::fmt::Debug {
    digests(&system_tests::run_files::checkpoints(root).join("last.ckpt"))
}

#[test]
fn the_numbers_are_those_without_and_every_step_computes_activations_again() {
    for devices in [1, 2] {
        let (without, with, resumed) = (in_memory(), in_memory(), in_memory());
        let recomputing = |root: &Path| config(root, EPOCHS).with_gradient_checkpointing(true);
        let (result, seen) = train(config(without.path(), EPOCHS), devices, Script::default()).unwrap();
        assert!(seen.0.lock().iter().all(|seen| *seen == Some(GradientCheckpointingStrategy::Disabled)));
        let (_, seen) = train(recomputing(with.path()), devices, Script::default()).unwrap();
        let seen = seen.0.lock().clone();
        assert!(seen.len() as u64 >= 4 * result.global_step);
        assert!(seen.iter().all(|seen| *seen == Some(GradientCheckpointingStrategy::Balanced)), "{seen:?}");

        // The search's steps are those of a copy of the model, which count too.
        let failing = Script { panic_in_step: Some(6 * devices + 7), ..Script::default() };
        assert!(train(recomputing(resumed.path()), devices, failing).is_err());
        let config = recomputing(resumed.path()).with_ckpt_path("auto");
        let (result, _) = train(config, devices, Script::default()).unwrap();
        assert!(result.resumed_from.is_some());

        assert_eq!(last(with.path()), last(resumed.path()), "{devices} devices");
        if backend::is_flex() {
            assert_eq!(last(with.path()), last(without.path()), "{devices} devices");
        }
    }
}

#[test]
fn a_model_without_it_is_an_error_before_the_first_step_and_one_with_it_needs_no_setting() {
    let fit = |root: &Path, is_set: bool, device: Device| {
        let script = Script::default();
        let config = config(root, EPOCHS).with_gradient_checkpointing(is_set);
        let trainer = Trainer::new(config, &script.hparams()).unwrap();
        let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
        let model = Model::new(script, &device);
        trainer.fit(training, Learner::new(model, AdamConfig::new().init_streamed(), 1e-2))
    };
    let device = backend::device().autodiff();
    let (root, own) = (in_memory(), in_memory());
    let error = fit(root.path(), true, device.clone()).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::Config { setting, .. } if setting == "gradient_checkpointing"),
        "{error:?}"
    );
    assert!(error.to_string().contains("Trainer::device"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
    fit(own.path(), false, device.gradient_checkpointing()).unwrap();
}
