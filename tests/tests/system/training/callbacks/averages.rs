//! The moving average of the parameters: its values, its validation, and loading it.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_ckpt::{Checkpoint, FromCheckpoint, LoadOptions};
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, Ema};
use burn_trainer::strategy::{Best, Last, StrategyConfig, TopK};
use burn_trainer::{Error, Trainer};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Script, config, loader, train_by};
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::run_files::{checkpoints, compare, described_state, in_memory, run_dir};

const DECAY: f64 = 0.8;

fn flat(section: &burn_ckpt::Section) -> Vec<(String, Vec<f32>)> {
    let floats =
        |bytes: Vec<u8>| bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let tensors = section.tensors.iter();
    tensors.map(|tensor| (tensor.name.clone(), floats(tensor.to_bytes().unwrap().to_vec()))).collect()
}

type Values = Vec<(String, Vec<f64>)>;

/// Averages in 64 bits, in its own way.
#[derive(Default, Clone)]
struct Judge(Arc<Mutex<Values>>);

impl Callback<Model> for Judge {
    fn name(&self) -> String {
        "judge".to_owned()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        let now = flat(&burn_ckpt::Section::from_module(&context.valid_model()));
        let now = now
            .into_iter()
            .map(|(name, values)| (name, values.into_iter().map(f64::from).collect::<Vec<_>>()));
        let mut averaged = self.0.lock();
        if averaged.is_empty() {
            *averaged = now.collect();
        } else {
            for ((_, average), (_, now)) in averaged.iter_mut().zip(now) {
                average.iter_mut().zip(now).for_each(|(a, n)| *a = DECAY * *a + (1.0 - DECAY) * n);
            }
        }
        Ok(())
    }
}

#[test]
fn the_average_is_that_of_its_formula_and_loads_in_one_line() {
    let root = in_memory();
    let judge = Judge::default();
    let averaged = Arc::clone(&judge.0);
    let config = config(root.path(), 1).with_strategies([
        StrategyConfig::Last(Last::new()),
        StrategyConfig::Best(Best::new().with_save_weights_only(true)),
    ]);
    train_by(config, Script::default(), |trainer| trainer.callback(judge).callback(Ema::new(DECAY))).unwrap();
    let expected = averaged.lock().clone();
    for name in ["last", "best"] {
        let path = run_path(root.path(), name);
        let model = Model::loader(&path).part("ema").load(&Device::default()).unwrap().model;
        let found = flat(&burn_ckpt::Section::from_module(&model));
        assert_eq!(found.len(), expected.len());
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            let worst =
                found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-5, "{name}: {worst}");
        }
        let raw = Model::from_checkpoint(&path, &Device::default()).unwrap();
        assert_ne!(
            flat(&burn_ckpt::Section::from_module(&raw)),
            flat(&burn_ckpt::Section::from_module(&model))
        );
    }
}

fn run_path(root: &Path, name: &str) -> std::path::PathBuf {
    run_dir(root).join(name)
}

#[test]
fn a_part_that_is_not_there_is_an_error_that_names_it() {
    let root = in_memory();
    train_by(config(root.path(), 1), Script::default(), |trainer| trainer).unwrap();
    let error =
        Model::loader(run_path(root.path(), "last")).part("ema").load(&Device::default()).unwrap_err();
    assert!(error.to_string().contains("user.ema"), "{error}");
    let checkpoint = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    let model = Model::new(Script::default(), &Device::default());
    let options = LoadOptions::new().with_part("ema");
    assert!(checkpoint.load_into_with(model, &options).is_err());
}

/// Sets the model that is validated to one whose loss is known.
struct Zeros;

impl Callback<Model> for Zeros {
    fn name(&self) -> String {
        "zeros".to_owned()
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        struct Zero;
        impl burn::module::ModuleMapper for Zero {
            fn map_float<const D: usize>(
                &mut self,
                param: burn::module::Param<Tensor<D>>,
            ) -> burn::module::Param<Tensor<D>> {
                param.map(|value| value.zeros_like())
            }
        }
        let model = burn::module::Module::map(context.valid_model(), &mut Zero);
        context.validate_with(model);
        Ok(())
    }
}

#[test]
fn a_validation_can_run_on_another_model() {
    let roots = [(); 3].map(|()| in_memory());
    let loss = |position: usize, epochs: usize, zeros: bool| {
        let config = config(roots[position].path(), epochs);
        let result =
            train_by(
                config,
                Script::default(),
                |trainer| {
                    if zeros { trainer.callback(Zeros) } else { trainer }
                },
            );
        result.unwrap().metrics["val_loss"]
    };
    let (one, two, raw) = (loss(0, 1, true), loss(1, 2, true), loss(2, 2, false));
    assert_eq!(one.to_bits(), two.to_bits(), "a model of zeros has one loss");
    assert_ne!(raw.to_bits(), two.to_bits());
}

#[test]
fn the_trained_parameters_are_validated_beside_the_average_on_a_set_that_is_named() {
    let metrics = |ema: Ema<Model>, set: Option<&str>| {
        let root = in_memory();
        let with_set = |trainer: Trainer<Model>| match set {
            Some(name) => trainer.validation_set(name, loader(&Script::default())),
            None => trainer,
        };
        let set_up = |trainer: Trainer<Model>| with_set(trainer).callback(ema);
        train_by(config(root.path(), 2), Script::default(), set_up).map(|result| result.metrics)
    };
    let average = metrics(Ema::new(DECAY), None).unwrap()["val_loss"];
    let trained = metrics(Ema::new(DECAY).with_validates(false), None).unwrap()["val_loss"];
    assert_ne!(average.to_bits(), trained.to_bits());
    let both = metrics(Ema::new(DECAY).with_trained_on("raw"), Some("raw")).unwrap();
    assert_eq!(both["val_loss"].to_bits(), average.to_bits());
    assert_eq!(both["val_raw_loss"].to_bits(), trained.to_bits());

    for (set, known) in [(Some("raw"), "the sets with a name are raw"), (None, "Trainer::validation_set")] {
        let error = metrics(Ema::new(DECAY).with_trained_on("rew"), set).unwrap_err();
        let Error::Callback { name, method, source, .. } = error else { panic!("{error}") };
        assert_eq!((name.as_str(), method), ("ema", "on_fit_start"));
        let reason = source.to_string();
        assert!(reason.starts_with("there is no validation set rew: ") && reason.contains(known), "{reason}");
    }
}

#[test]
fn a_checkpoint_says_since_which_step_its_average_is_also_after_a_resume() {
    let root = in_memory();
    for epochs in [1, 2] {
        let config = config(root.path(), epochs).with_ckpt_path("auto");
        let ema = || Ema::new(DECAY).with_start_step(4).with_every_n_steps(3);
        train_by(config, Script::default(), |trainer| trainer.callback(ema())).unwrap();
        let shown = stdout(&burn_ckpt(&[&"show", &run_path(root.path(), "last")]));
        assert!(
            shown.contains(
                "a moving one over each 3 steps since step 7, decay 0.8000, with which the run validates\n"
            ),
            "{shown}"
        );
    }
}

#[test]
fn settings_that_differ_from_the_checkpoints_and_an_average_that_never_began_are_said() {
    let root = in_memory();
    let said = |epochs: usize, ema: Ema<Model>| {
        let config = config(root.path(), epochs).with_ckpt_path("auto");
        train_by(config, Script::default(), |trainer| trainer.callback(ema)).unwrap();
        std::fs::read_to_string(run_dir(root.path()).join("experiment.log")).unwrap()
    };
    let late = said(1, Ema::new(DECAY).with_start_step(500));
    assert!(
        late.contains("ema has averaged nothing: it begins with step 501, and the run ended with step 10"),
        "{late}"
    );
    let begun = said(2, Ema::new(DECAY));
    let same = said(3, Ema::new(DECAY));
    assert!(!begun.contains("ema.decay") && !same.contains("ema.decay"), "{same}");
    let other = said(4, Ema::new(0.5).with_validates(false));
    assert!(
        other.contains("ema.decay is 0.5, was 0.8 in the checkpoint") && !other.contains("ema.start_step"),
        "{other}"
    );
    assert!(other.contains("ema.validates is false, was true in the checkpoint"), "{other}");
}

#[test]
fn two_averages_have_names_and_are_a_part_each_also_after_a_failure() {
    let ended = |root: &Path, script: Script| {
        let config = config(root, 2).with_ckpt_path("auto");
        train_by(config, script, |trainer| {
            let slow = Ema::new(0.9).with_name("ema_slow").with_validates(false);
            trainer.callback(Ema::new(DECAY)).callback(slow)
        })
    };
    let (whole, parts) = (in_memory(), in_memory());
    ended(whole.path(), Script::default()).unwrap();
    ended(parts.path(), Script { panic_in_step: Some(14), ..Script::default() }).unwrap_err();
    ended(parts.path(), Script::default()).unwrap();
    compare(&run_dir(whole.path()), &run_dir(parts.path())).unwrap();
    let weights = |part: &str| {
        let loaded = Model::loader(run_path(whole.path(), "last")).part(part).load(&Device::default());
        flat(&burn_ckpt::Section::from_module(&loaded.unwrap().model))
    };
    assert_ne!(weights("ema"), weights("ema_slow"));
    let shown = stdout(&burn_ckpt(&[&"show", &run_path(whole.path(), "last")]));
    assert!(shown.contains("ema_slow: a moving one over each step since step 1, decay 0.9000\n"), "{shown}");
}

#[test]
fn two_averages_of_one_name_or_that_both_validate_are_errors_before_the_first_step() {
    let error = |other: Ema<Model>| {
        let (root, script) = (in_memory(), Script { panic_in_step: Some(1), ..Script::default() });
        let set_up = |trainer: Trainer<Model>| trainer.callback(Ema::new(DECAY)).callback(other);
        train_by(config(root.path(), 1), script, set_up).unwrap_err()
    };
    let same = error(Ema::new(0.9));
    assert!(matches!(&same, Error::Config { reason, .. } if reason.contains("with_name")), "{same}");
    let Error::Callback { name, method, source, .. } = error(Ema::new(0.9).with_name("other")) else {
        panic!()
    };
    assert_eq!((name.as_str(), method), ("other", "on_fit_start"));
    assert!(source.to_string().contains("the average of ema already"), "{source}");
}

#[test]
fn settings_that_cannot_be_are_errors_before_the_first_step() {
    for ema in [Ema::new(1.0), Ema::new(-0.1), Ema::new(f64::NAN), Ema::new(0.9).with_every_n_steps(0)] {
        let root = in_memory();
        let result = train_by(config(root.path(), 1), Script::default(), |trainer| trainer.callback(ema));
        let Err(Error::Callback { name, method, .. }) = result else { panic!() };
        assert_eq!((name.as_str(), method), ("ema", "on_fit_start"));
    }
}

#[test]
fn each_checkpoint_has_the_averaged_running_statistics_of_its_step() {
    let of_epochs = |epochs: usize| {
        let root = in_memory();
        let all = StrategyConfig::Last(Last::new().with_topk(TopK::All));
        let config = config(root.path(), epochs).with_strategies([all]);
        train_by(config, Script::default(), |trainer| trainer.callback(Ema::new(DECAY))).unwrap();
        let state = described_state(&checkpoints(root.path()).join("last/epoch=0-step=10.ckpt"));
        let tensors = state["tensors"].as_object().unwrap().clone();
        assert!(tensors.contains_key("user.ema.norm.running_mean"), "{tensors:?}");
        tensors
    };
    assert_eq!(of_epochs(1), of_epochs(3));
}
