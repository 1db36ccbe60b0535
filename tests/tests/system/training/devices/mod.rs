//! Several devices: the same numbers from run to run for both placements of the optimizer, saves at any step,
//! and resuming with the same number of devices or another.

mod gradient_checkpointing;

use std::collections::BTreeMap;
use std::path::Path;

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn::train::{Learner, MultiDeviceOptim};
use burn_trainer::burn_ckpt::Checkpoint;
use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::lr_scheduler::WarmupCosine;
use burn_trainer::strategy::{Last, OnException, StrategyConfig};
use burn_trainer::{Error, FitResult, Result, Trainer, TrainerConfig};
use system_tests::backend;
use system_tests::config;
use system_tests::models::small::{BATCH, Model, Script, learner, shuffling};
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::TestHooks;
use system_tests::run_files::{checkpoints, in_memory, metadata};

use MultiDeviceOptim::{OptimMainDevice, OptimSharded};

const EPOCHS: usize = 3;

#[derive(Clone, Copy)]
struct On {
    devices: usize,
    optim: MultiDeviceOptim,
    accumulation: usize,
}

const ONE: On = On { devices: 1, optim: OptimMainDevice, accumulation: 1 };

fn saving(root: &Path) -> TrainerConfig {
    let last = Last::new().with_every_n_steps(1).with_topk(TopK::All).with_filename("{step}");
    config(root, EPOCHS)
        .with_strategies([StrategyConfig::Last(last), StrategyConfig::OnException(OnException::default())])
}

fn train(config: TrainerConfig, script: Script, on: On) -> Result<FitResult<Model>> {
    let trainer = Trainer::new(config, &script.hparams())?
        .devices((0..on.devices).map(|_| backend::device()))
        .optimizer_placement(on.optim);
    let training = trainer
        .training(shuffling(BATCH), shuffling(BATCH))
        .metrics((LossMetric::new(),))
        .grads_accumulation(on.accumulation);
    // A model of its own each time, with parameter ids of its own.
    let learner: Learner<Model> = learner(script);
    trainer.fit(training, Learner::new(learner.model(), AdamConfig::new().init(), 1e-2))
}

/// What every tensor of a checkpoint is, by a digest.
fn digests(checkpoint: &Path) -> BTreeMap<String, String> {
    let tensors = Checkpoint::open(checkpoint).unwrap().verify().unwrap().tensors;
    tensors.into_iter().map(|(name, info)| (name, info.blake3)).collect()
}

fn at_step(root: &Path, step: usize) -> BTreeMap<String, String> {
    digests(&checkpoints(root).join(format!("last/{step}.ckpt")))
}

#[test]
fn two_and_three_devices_give_the_same_bytes_from_run_to_run() {
    for devices in [2, 3] {
        for optim in [OptimMainDevice, OptimSharded] {
            let on = On { devices, optim, ..ONE };
            let runs = [in_memory(), in_memory()];
            for root in &runs {
                let result = train(saving(root.path()), Script::default(), on).unwrap();
                // Ten batches: a batch on each device in a step, and in an epoch's last step what is left.
                assert_eq!(result.global_step, (EPOCHS * 10_usize.div_ceil(devices)) as u64);
            }
            for step in [1, 4, EPOCHS * 10_usize.div_ceil(devices)] {
                assert_eq!(
                    at_step(runs[0].path(), step),
                    at_step(runs[1].path(), step),
                    "{devices} devices, {optim:?}, step {step}"
                );
            }
        }
    }
}

#[test]
fn two_devices_do_what_one_does_that_accumulates_two_batches() {
    let (one, two) = (in_memory(), in_memory());
    train(saving(one.path()), Script::default(), On { accumulation: 2, ..ONE }).unwrap();
    for optim in [OptimMainDevice, OptimSharded] {
        let config = saving(two.path()).with_overwrite(true);
        train(config, Script::default(), On { devices: 2, optim, ..ONE }).unwrap();
        for step in [1, 5, 15] {
            assert_eq!(at_step(one.path(), step), at_step(two.path(), step), "{optim:?}, step {step}");
        }
    }
}

#[test]
fn every_item_is_trained_on_once_in_an_epoch() {
    let root = in_memory();
    train(saving(root.path()), Script::default(), On { devices: 3, ..ONE }).unwrap();
    let state = Checkpoint::open(checkpoints(root.path()).join("last/2.ckpt")).unwrap();
    let state: serde_json::Value = state.trainer_state().unwrap();
    assert_eq!((&state["batches"], &state["items"]), (&6.into(), &(6 * BATCH).into()));
    let state = Checkpoint::open(checkpoints(root.path()).join("last/4.ckpt")).unwrap();
    let state: serde_json::Value = state.trainer_state().unwrap();
    assert_eq!((&state["batches"], &state["items"]), (&10.into(), &(10 * BATCH).into()));
}

#[test]
fn a_run_on_several_devices_resumes_in_the_middle_of_an_epoch_as_if_never_stopped() {
    for optim in [OptimMainDevice, OptimSharded] {
        let on = On { devices: 3, optim, accumulation: 2 };
        let (whole, parts) = (in_memory(), in_memory());
        let steps = train(saving(whole.path()), Script::default(), on).unwrap().global_step;
        // In the second epoch, on the second device, with gradients accumulated since the last update.
        let script = Script { panic_in_step: Some(10 + 5), ..Script::default() };
        let error = train(saving(parts.path()), script, on).map(|_| ()).unwrap_err();
        let Error::Panicked { saved: Some(saved), .. } = error else { panic!("{error}") };
        assert_eq!(digests(&saved), at_step(whole.path(), 2), "the state is that of the last update");

        let result = train(saving(parts.path()).with_ckpt_path("auto"), Script::default(), on).unwrap();
        assert_eq!(result.global_step, steps);
        let steps = usize::try_from(steps).unwrap();
        assert_eq!(at_step(whole.path(), steps), at_step(parts.path(), steps), "{optim:?}");
    }
}

#[test]
fn a_run_resumes_on_another_number_of_devices() {
    let root = in_memory();
    let script = Script { panic_in_step: Some(6), ..Script::default() };
    // Three updates of one batch each... and then the rest of the epoch's ten batches on two devices.
    let on = On { devices: 1, ..ONE };
    assert!(train(saving(root.path()), script, on).is_err());
    let on = On { devices: 2, ..ONE };
    let result = train(saving(root.path()).with_ckpt_path("auto"), Script::default(), on).unwrap();
    // 5 batches were done; 5 are left, which are 3 steps; then two epochs of 5 steps.
    assert_eq!(result.global_step, 5 + 3 + 2 * 5);
    let last = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!(last["epoch"], 2);
}

#[test]
fn a_run_that_keeps_its_effective_batch_resumes_on_another_number_of_devices_as_if_never_stopped() {
    // Two batches in a step, on two devices and on one.
    let (whole, parts) = (in_memory(), in_memory());
    let two = On { devices: 2, ..ONE };
    let steps = train(saving(whole.path()), Script::default(), two).unwrap().global_step;
    let script = Script { panic_in_step: Some(10 + 5), ..Script::default() };
    assert!(train(saving(parts.path()), script, two).is_err());
    let keeping = saving(parts.path()).with_ckpt_path("auto").with_keep_effective_batch(true);
    // The program asks for no accumulation; that it needs two batches follows from the run.
    let result = train(keeping, Script::default(), ONE).unwrap();
    assert_eq!(result.global_step, steps);
    let steps = usize::try_from(steps).unwrap();
    assert_eq!(at_step(whole.path(), steps), at_step(parts.path(), steps));
}

#[test]
fn a_checkpoint_of_another_loop_does_not_say_what_an_effective_batch_was_and_a_line_does() {
    let root = in_memory();
    let flags = "--run-id r1 --ckpt-path auto --set keep_effective_batch=true";
    let hooks = TestHooks { burns_loop: true, ..TestHooks::default() };
    let of_burns_loop = warmup(root.path(), "--run-id r1 --epochs 1");
    Running::start(hooks.given_to(of_burns_loop)).end_well();
    let warning =
        "warning: keep_effective_batch is without effect: the checkpoint does not say how many batches";
    for (epochs, count) in [(2, 1), (3, 0)] {
        let ended = Running::start(warmup(root.path(), &format!("{flags} --epochs {epochs}"))).end_well();
        assert_eq!(ended.stderr.matches(warning).count(), count, "{ended:?}");
    }
}

/// The same with a schedule over the whole run.
fn train_scheduled(config: TrainerConfig, script: Script, devices: usize) -> Result<FitResult<Model>> {
    let devices = (0..devices).map(|_| backend::device());
    let trainer = Trainer::new(config, &script.hparams())?.devices(devices);
    let data = shuffling(BATCH);
    let schedule = WarmupCosine::new(1e-2, trainer.optimizer_steps(&*data, 1)?);
    let training = trainer.training(data, shuffling(BATCH)).metrics((LossMetric::new(),));
    let learner: Learner<Model> = learner(script);
    trainer.fit(training, Learner::new(learner.model(), AdamConfig::new().init(), schedule))
}

#[test]
fn a_schedule_over_the_run_is_as_long_on_another_number_of_devices_that_keeps_the_effective_batch() {
    let (whole, parts) = (in_memory(), in_memory());
    let steps = train_scheduled(saving(whole.path()), Script::default(), 2).unwrap().global_step;
    let script = Script { panic_in_step: Some(10 + 5), ..Script::default() };
    assert!(train_scheduled(saving(parts.path()), script, 2).is_err());
    let keeping = saving(parts.path()).with_ckpt_path("auto").with_keep_effective_batch(true);
    let result = train_scheduled(keeping, Script::default(), 1).unwrap();
    assert_eq!(result.global_step, steps);
    let steps = usize::try_from(steps).unwrap();
    assert_eq!(at_step(whole.path(), steps), at_step(parts.path(), steps));
}

#[test]
fn the_steps_of_the_run_count_those_done_before_it_had_another_number_of_devices() {
    let root = in_memory();
    let train = |devices: usize, panic_in_step| {
        let script = Script { panic_in_step, ..Script::default() };
        let config = saving(root.path()).with_ckpt_path("auto");
        let devices = (0..devices).map(|_| backend::device());
        let trainer = Trainer::<Model>::new(config, &script.hparams()).unwrap().devices(devices);
        let data = shuffling(BATCH);
        let counted = trainer.optimizer_steps(&*data, 1).unwrap();
        let training = trainer.training(data, shuffling(BATCH)).metrics((LossMetric::new(),));
        (counted, trainer.fit(training, learner(script)).map(|result| result.global_step).ok())
    };
    let (of_one, ended) = train(1, Some(10 + 5));
    assert_eq!(ended, None);
    let (of_two, ended) = train(2, Some(4));
    assert_eq!(ended, None);
    assert!(of_one / 2 < of_two && of_two < of_one, "{of_two} of {of_one}");
    // The second start on two devices has more steps done.
    assert_eq!(train(2, None), (of_two, Some(of_two)));
}

#[test]
fn an_effective_batch_that_the_devices_cannot_share_is_an_error_before_training() {
    let root = in_memory();
    let script = Script { panic_in_step: Some(10 + 5), ..Script::default() };
    assert!(train(saving(root.path()), script, On { devices: 2, ..ONE }).is_err());
    let keeping = saving(root.path()).with_ckpt_path("auto").with_keep_effective_batch(true);
    let saved = checkpoints(root.path()).join("last");
    let before = system_tests::run_files::files(&saved);
    let error = train(keeping, Script::default(), On { devices: 3, ..ONE }).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Config { setting, .. } if setting == "keep_effective_batch"), "{error}");
    assert!(error.to_string().contains("a number of devices that divides 2"), "{error}");
    assert_eq!(system_tests::run_files::files(&saved), before);
}
