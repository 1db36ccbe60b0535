//! States of callbacks that are missing, newer, of another form, or of callbacks that are not there.

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_ckpt::Checkpoint;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, CallbackState, EarlyStopping, Ema, GradientGuard,
    ReduceOnPlateau, Restored,
};
use burn_trainer::{Error, Trainer, TrainerConfig};
use parking_lot::Mutex;
use system_tests::backend;
use system_tests::models::small::{Model, STEPS_PER_EPOCH, Script, Storing, config, train_by};
use system_tests::run_files::{checkpoints, in_memory};

/// Stores a text, and takes what its version allows.
struct Keeper {
    version: u32,
    text: String,
    insists: bool,
}

impl Keeper {
    fn new(version: u32) -> Self {
        Self { version, text: format!("of version {version}"), insists: false }
    }
}

impl Callback<Model> for Keeper {
    fn name(&self) -> String {
        "keeper".to_owned()
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(self.version).with_value(&self.text)?))
    }

    fn restore(
        &mut self,
        _: &mut CallbackContext<'_, Model>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        match state {
            Some(state) => {
                self.text = state.up_to_version(self.version)?.value()?;
                Ok(Restored::Complete)
            }
            None if self.insists => Err("there must be a text".into()),
            None => Ok(Restored::FromStart("there was no text".to_owned())),
        }
    }
}

/// One that stores a state, and does not take it back.
struct Forgetful;

impl Callback<Model> for Forgetful {
    fn name(&self) -> String {
        "keeper".to_owned()
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(1)))
    }
}

/// A tensor, and what tells how many copies of it there are.
#[derive(Module, Debug)]
struct Counted {
    tensor: Param<Tensor<1>>,
    #[module(skip)]
    copies: Arc<()>,
}

/// Stores a module, and notes how many copies there are of it when a step has been done.
struct InPlace {
    module: Counted,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Callback<Model> for InPlace {
    fn name(&self) -> String {
        "in_place".to_owned()
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(1).with_module(&self.module)))
    }

    fn on_train_step_end(&mut self, _: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.seen.lock().push(Arc::strong_count(&self.module.copies));
        Ok(())
    }
}

#[test]
fn what_a_callback_has_stored_is_dropped_before_the_next_step_so_that_it_can_work_in_place() {
    let root = in_memory();
    let tensor = Param::from_tensor(Tensor::<1>::zeros([4], &backend::device()));
    let (module, seen) = (Counted { tensor, copies: Arc::default() }, Arc::default());
    let callback = InPlace { module, seen: Arc::clone(&seen) };
    let config = config(root.path(), 1).with_checkpoint_saving(false);
    train_by(config, Script::default(), |trainer| trainer.callback(callback)).unwrap();
    assert_eq!(*seen.lock(), [1; STEPS_PER_EPOCH]);
}

fn resumed<C: Callback<Model> + 'static>(
    first: impl FnOnce(Trainer<Model>) -> Trainer<Model>,
    second: C,
) -> (tempfile::TempDir, burn_trainer::Result<u64>) {
    let root = in_memory();
    let settings = |epochs: usize| -> TrainerConfig { config(root.path(), epochs).with_ckpt_path("auto") };
    train_by(settings(1), Script::default(), first).unwrap();
    let result = train_by(settings(2), Script::default(), |trainer| trainer.callback(second));
    (root, result.map(|result| result.global_step))
}

#[test]
fn an_older_state_is_taken_and_read_without_the_trainer() {
    let (root, steps) = resumed(|trainer| trainer.callback(Keeper::new(1)), Keeper::new(2));
    assert_eq!(steps.unwrap(), 20);
    let last = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    assert!(last.sections().iter().any(|section| section == "user.keeper"));
    let section = last.verified_section("user.keeper").unwrap();
    assert_eq!(section.strings["callback.version"], "2");
    assert_eq!(section.strings["callback.value"], "\"of version 1\"");
}

#[test]
fn a_missing_or_newer_state_is_as_the_callback_says() {
    let none = |trainer: Trainer<Model>| trainer;
    assert_eq!(resumed(none, Keeper::new(1)).1.unwrap(), 20);
    let insisting = Keeper { insists: true, ..Keeper::new(1) };
    for result in [resumed(none, insisting).1, resumed(|t| t.callback(Keeper::new(2)), Keeper::new(1)).1] {
        let Err(Error::Callback { name, method, .. }) = result else { panic!("{result:?}") };
        assert_eq!((name.as_str(), method), ("keeper", "restore"));
    }
    let (_, forgotten) = resumed(|t| t.callback(Keeper::new(1)), Forgetful);
    assert!(matches!(forgotten, Err(Error::Callback { method: "restore", .. })));
    // An average that began with the resume says so, and the run continues.
    assert_eq!(resumed(none, Ema::new(0.9)).1.unwrap(), 20);
}

#[test]
fn the_state_of_a_callback_that_is_not_there_is_left_out_of_later_checkpoints() {
    let (root, steps) = resumed(|trainer| trainer.callback(Keeper::new(1)), Ema::new(0.5));
    assert_eq!(steps.unwrap(), 20);
    let last = Checkpoint::open(checkpoints(root.path()).join("last.ckpt")).unwrap();
    assert!(!last.has_section("user.keeper") && last.has_section("user.ema"));
}

#[test]
fn tensors_of_another_model_are_an_error_that_names_one() {
    let root = in_memory();
    let settings = |epochs: usize| config(root.path(), epochs).with_ckpt_path("auto");
    train_by(settings(1), Script::default(), |trainer| trainer.callback(Ema::new(0.5))).unwrap();
    struct Taking;
    impl Callback<Model> for Taking {
        fn name(&self) -> String {
            "ema".to_owned()
        }

        fn restore(
            &mut self,
            context: &mut CallbackContext<'_, Model>,
            state: Option<CallbackState>,
        ) -> CallbackResult<Restored> {
            let device = context.device().clone().inner();
            let other = Model::new(Script { hidden: 3, ..Script::default() }, &device);
            state.ok_or("missing")?.load_into(other)?;
            Ok(Restored::Complete)
        }
    }
    let result = train_by(settings(2), Script::default(), |trainer| trainer.callback(Taking));
    let Err(Error::Callback { source, .. }) = result else { panic!() };
    assert!(source.to_string().contains("input.weight"), "{source}");
}

type SetUp = fn(Trainer<Model>) -> Trainer<Model>;

/// The built-in callbacks that have a state, under their names, with the version of the state.
const BUILT_IN: [(&str, u32, SetUp); 4] = [
    ("gradient_guard", 1, |trainer| trainer.callback(GradientGuard::new())),
    ("ema", 1, |trainer| trainer.callback(Ema::new(0.5))),
    ("reduce_on_plateau", 2, plateau),
    // By the configuration.
    ("early_stopping", 2, |trainer| trainer),
];

fn plateau(trainer: Trainer<Model>) -> Trainer<Model> {
    trainer.callback(ReduceOnPlateau::new("val_loss"))
}

/// What a built-in callback says of this state in the checkpoint that the run resumes from.
fn refusal(name: &'static str, set_up: SetUp, state: CallbackState) -> String {
    let root = storing(&[name], &state);
    refused(root.path(), name, set_up)
}

/// A run whose checkpoint has this state under each of these names.
fn storing(names: &[&'static str], state: &CallbackState) -> tempfile::TempDir {
    let root = in_memory();
    let set_up = |trainer| {
        let callbacks = names.iter().map(|&name| Storing { name, state: state.clone() });
        callbacks.fold(trainer, Trainer::callback)
    };
    train_by(config(root.path(), 1), Script::default(), set_up).unwrap();
    root
}

/// What a built-in callback says of the state that is stored under its name. The run stays as it is.
fn refused(root: &Path, name: &'static str, set_up: SetUp) -> String {
    let config = config(root, 2).with_ckpt_path("auto");
    let config = match name {
        "early_stopping" => config.with_early_stopping(EarlyStopping::new("val_loss")),
        _ => config,
    };
    let result = train_by(config, Script::default(), set_up);
    let Err(Error::Callback { name: found, method, source, .. }) = result else { panic!("{name}") };
    assert_eq!((found.as_str(), method), (name, "restore"));
    source.to_string()
}

#[test]
fn no_built_in_callback_reads_a_state_of_a_newer_version_or_of_another_form() {
    let names = BUILT_IN.map(|(name, ..)| name);
    let newer = storing(&names, &CallbackState::new(3));
    let other = storing(&names, &CallbackState::new(1).with_value(&["another", "form"]).unwrap());
    for (name, version, set_up) in BUILT_IN {
        let newer = refused(newer.path(), name, set_up);
        let expected = format!("has version 3, and this program reads up to {version}");
        assert!(newer.contains(&expected), "{name}: {newer}");
        let other = refused(other.path(), name, set_up);
        // The average is tensors alone.
        let expected = if name == "ema" { "has no tensor" } else { "has another form" };
        assert!(other.contains(expected), "{name}: {other}");
    }
}

#[test]
fn the_first_version_of_early_stoppings_state_is_read() {
    // Without the metric, its direction and the place of the last look.
    let counts = serde_json::json!({"best": "1", "since_best": 2});
    let first = CallbackState::new(1).with_value(&(counts, "1.5")).unwrap();
    let root = storing(&["early_stopping"], &first);
    let resumed = |patience: u64| {
        let stopping = EarlyStopping::new("val_loss").with_patience(patience);
        let config = config(root.path(), 2).with_ckpt_path("auto").with_early_stopping(stopping);
        train_by(config, Script::default(), |trainer| trainer).unwrap()
    };
    assert!(resumed(2).finished_before, "it has ended the run");
    assert_eq!(resumed(100).epochs, 2);
}

#[test]
fn an_average_without_one_of_the_models_tensors_is_an_error_that_names_it() {
    #[derive(burn::module::Module, Debug)]
    struct InputAlone {
        input: burn::nn::Linear,
    }
    let input = burn::nn::LinearConfig::new(4, 6).init(&burn::tensor::Device::default());
    let part = CallbackState::new(1).with_module(&InputAlone { input });
    let (name, _, set_up) = BUILT_IN[1];
    let missing = refusal(name, set_up, part);
    assert!(
        missing.contains("has no tensor norm.") || missing.contains("has no tensor output."),
        "{missing}"
    );
}
