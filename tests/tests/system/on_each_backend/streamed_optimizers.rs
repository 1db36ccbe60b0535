//! Streamed optimizers: each of burn's optimizers writes the same files streamed and not, and each resumes
//! from the other's.

use std::path::Path;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::ParamGroup;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig,
    ModuleOptimizer, MuonConfig, RmsPropConfig, SgdConfig,
};
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_trainer::optimizer::{InitStreamed, Streamed};
use burn_trainer::{Result, Trainer, TrainerConfig};
use system_tests::config;
use system_tests::models::small::{BATCH, Script, learner, shuffling};
use system_tests::run_files::{checkpoints, compare, copy_tree, metadata, run_dir};

const RATE: f64 = 1e-3;

fn train(config: TrainerConfig, script: Script, optimizer: ModuleOptimizer) -> Result<u64> {
    let trainer = Trainer::new(config, &())?;
    // Five steps in an epoch.
    let data = || shuffling(2 * BATCH);
    let training = trainer.training(data(), data()).metrics((LossMetric::new(),));
    Ok(trainer.fit(training, Learner::new(learner(script).model(), optimizer, RATE))?.global_step)
}

/// In a new directory, in one go, and in two parts that a failure in the middle of an epoch divides: begun by
/// one and resumed by the other, and by itself where it is streamed. All streamed ones are the same optimizer
/// as the plain one.
fn same_files(plain: &dyn Fn() -> ModuleOptimizer, streamed: &[&dyn Fn() -> ModuleOptimizer]) {
    let whole = tempfile::tempdir().unwrap();
    train(config(whole.path(), 2), Script::default(), plain()).unwrap();
    let begun = |optimizer: &dyn Fn() -> ModuleOptimizer| {
        let begun = tempfile::tempdir().unwrap();
        let fails = Script { panic_in_step: Some(8), ..Script::default() };
        train(config(begun.path(), 2), fails, optimizer()).unwrap_err();
        begun
    };
    let resumes = |begun: &Path, optimizer: &dyn Fn() -> ModuleOptimizer| {
        let parts = tempfile::tempdir().unwrap();
        copy_tree(begun, parts.path());
        let resumed = config(parts.path(), 2).with_ckpt_path("auto");
        train(resumed, Script::default(), optimizer()).unwrap();
        compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
    };
    let begun_plain = begun(plain);
    for streamed in streamed {
        let begun = begun(streamed);
        resumes(begun.path(), streamed);
        resumes(begun.path(), plain);
        resumes(begun_plain.path(), streamed);
    }
}

/// How many tensors of the optimizer are in the last checkpoint.
fn state_tensors(root: &Path) -> usize {
    let tensors = metadata(&checkpoints(root).join("last.ckpt"))["tensors"].clone();
    tensors.as_object().unwrap().keys().filter(|name| name.starts_with("optimizer.")).count()
}

macro_rules! same_files {
    ($($name:ident: $config:expr;)*) => {
        $(#[test]
        fn $name() {
            same_files(&|| $config.init(), &[&|| $config.init_streamed()]);
        })*
    };
}

same_files! {
    adagrad: AdaGradConfig::new();
    adafactor: AdafactorConfig::new();
    adam: AdamConfig::new();
    adam_with_amsgrad_and_clipping: AdamConfig::new()
        .with_amsgrad(true)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1e-3)));
    adamw: AdamWConfig::new().with_grad_clipping(Some(GradientClippingConfig::Value(1e-4)));
    adan: AdanConfig::new();
    lamb: LambConfig::new();
    lion: LionConfig::new();
    rmsprop: RmsPropConfig::new();
    rmsprop_centered_with_momentum: RmsPropConfig::new().with_centered(true).with_momentum(0.9);
    sgd: SgdConfig::new();
    sgd_with_momentum: SgdConfig::new().with_momentum(Some(MomentumConfig::new()));
}

#[test]
fn muon_for_the_matrices_and_adam_for_the_rest() {
    let matrices = || ParamGroup::from_paths(vec!["input.weight", "output.weight"]);
    let plain = || AdamConfig::new().init().with_group(matrices(), MuonConfig::new().build(), None);
    let streamed = || {
        AdamConfig::new().init_streamed().with_group(matrices(), Streamed(MuonConfig::new().build()), None)
    };
    // One of the two alone does as well.
    let half = || AdamConfig::new().init_streamed().with_group(matrices(), MuonConfig::new().build(), None);
    same_files(&plain, &[&streamed, &half]);
}

#[test]
fn the_state_is_there() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1), Script::default(), AdamConfig::new().init_streamed()).unwrap();
    let names = metadata(&checkpoints(root.path()).join("last.ckpt"))["tensors"].clone();
    for tensor in ["input.weight", "norm.gamma", "output.bias"] {
        for moment in ["moment_1", "moment_2"] {
            let name = format!("optimizer.{tensor}.momentum.{moment}");
            assert_eq!(names[&name]["shape"], names[format!("model.{tensor}")]["shape"], "{name}");
        }
    }
    let parameters = 6;
    assert_eq!(state_tensors(root.path()), 2 * parameters);
}
