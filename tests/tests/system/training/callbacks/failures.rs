//! What becomes of errors and panics in callbacks, and of names that cannot be.

use burn_ckpt::Checkpoint;
use burn_trainer::Error;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, CallbackState, LoggedScalar};
use system_tests::models::small::{Model, Script, config, train_by};
use system_tests::run_files::in_memory;

/// Fails after a step.
struct Failing {
    name: &'static str,
    at_step: u64,
    panics: bool,
}

impl Callback<Model> for Failing {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(1).with_value(&self.at_step)?))
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        if context.global_step() != self.at_step {
            return Ok(());
        }
        assert!(!self.panics, "the callback was told to panic");
        Err("the callback was told to fail".into())
    }
}

#[test]
fn an_error_ends_the_run_under_the_callbacks_name_and_the_state_is_saved() {
    let root = in_memory();
    let failing = Failing { name: "fails", at_step: 13, panics: false };
    let error =
        train_by(config(root.path(), 3), Script::default(), |trainer| trainer.callback(failing)).unwrap_err();
    let text = format!("{error}");
    let Error::Callback { name, method, source, saved } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), method), ("fails", "on_train_step_end"));
    assert!(text.contains("the callback fails failed in on_train_step_end"), "{text}");
    assert_eq!(source.to_string(), "the callback was told to fail");
    let checkpoint = Checkpoint::open(saved.unwrap()).unwrap();
    let metadata = checkpoint.verify().unwrap();
    assert_eq!(metadata.global_step, 13);
    assert!(
        metadata.reason.contains("fails") && metadata.reason.contains("told to fail"),
        "{}",
        metadata.reason
    );
    let config = config(root.path(), 3).with_ckpt_path("auto");
    assert_eq!(train_by(config, Script::default(), |trainer| trainer).unwrap().global_step, 30);
}

#[test]
fn a_panic_names_the_callback() {
    let root = in_memory();
    let failing = Failing { name: "panics", at_step: 2, panics: true };
    let error =
        train_by(config(root.path(), 1), Script::default(), |trainer| trainer.callback(failing)).unwrap_err();
    let Error::Panicked { message, saved } = error else { panic!("{error}") };
    assert!(message.starts_with("the callback panics panicked in on_train_step_end: "), "{message}");
    let saved = Checkpoint::open(saved.unwrap()).unwrap();
    assert!(
        saved.sections().iter().any(|section| section == "user.panics"),
        "its state is in the checkpoint"
    );
}

#[test]
fn names_are_checked_before_the_first_step() {
    let named = |name| Failing { name, at_step: u64::MAX, panics: false };
    let setting = |names: &[&'static str]| {
        let root = in_memory();
        let result = train_by(config(root.path(), 1), Script::default(), |trainer| {
            names.iter().fold(trainer, |trainer, name| trainer.callback(named(name)))
        });
        match result {
            Err(Error::Config { setting, .. }) => Some(setting),
            other => {
                other.unwrap();
                None
            }
        }
    };
    assert_eq!(setting(&["same", "same"]).unwrap(), "the callback \"same\"");
    for name in ["", "a.b", "a/b", "a b"] {
        assert_eq!(setting(&[name]).unwrap(), format!("the callback {name:?}"));
    }
    assert_eq!(setting(&["same", "other", "ünï-1_2"]), None);
}

/// Logs a metric where it cannot be logged.
struct WrongLog(&'static str);

impl Callback<Model> for WrongLog {
    fn name(&self) -> String {
        "logs".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![LoggedScalar::of_training("of_training"), LoggedScalar::of_validation("of_validation")]
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        context.log(self.0, 1.0)
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        context.log(self.0, 1.0)
    }
}

#[test]
fn a_metric_that_cannot_be_logged_is_an_error_that_names_the_choices() {
    let source = |name| {
        let root = in_memory();
        let result =
            train_by(config(root.path(), 1), Script::default(), |trainer| trainer.callback(WrongLog(name)));
        let Err(Error::Callback { method, source, .. }) = result else { panic!() };
        (method, source.to_string())
    };
    let (method, text) = source("unknown");
    assert!(method == "on_train_step_end" && text.contains("of_training, of_validation"), "{text}");
    let (method, text) = source("of_validation");
    assert!(method == "on_train_step_end" && text.contains("is of the validation"), "{text}");
    let (method, text) = source("of_training");
    assert!(method == "on_validation_end" && text.contains("is of the training"), "{text}");
}
