//! The order in which the methods of callbacks are called.

use std::sync::Arc;

use burn::train::RegressionOutput;
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, Ema, Gradients};
use burn_trainer::strategy::{Last, LastStrategy, Strategy};
use parking_lot::Mutex;
use system_tests::models::small::{Model, Script, config, train_by};
use system_tests::run_files::{checkpoints, in_memory, run_dir, stems};

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes each call, with the position that it is shown.
struct Noting {
    name: &'static str,
    seen: Seen,
}

impl Noting {
    fn note(&self, what: &str, context: &CallbackContext<'_, Model>) {
        let (epoch, step, batch) = (context.epoch(), context.global_step(), context.batch());
        self.seen.lock().push(format!("{} {what} {epoch}/{step}/{batch}", self.name));
    }
}

impl Callback<Model> for Noting {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("fit_start", context);
        Ok(())
    }

    fn on_epoch_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("epoch_start", context);
        Ok(())
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        output: &RegressionOutput,
    ) -> CallbackResult {
        assert!(output.loss.clone().into_scalar::<f32>().is_finite());
        self.note("batch", context);
        Ok(())
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, Model>,
        gradients: &mut Gradients<'_, Model>,
    ) -> CallbackResult {
        assert!(gradients.norm().is_some());
        self.note("before_step", context);
        Ok(())
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("step", context);
        Ok(())
    }

    fn on_validation_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("validation", context);
        Ok(())
    }

    fn on_validation_batches_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("validation_batches", context);
        Ok(())
    }

    fn on_validation_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        assert!(context.metrics().contains_key("val_loss"));
        self.note("validation_end", context);
        Ok(())
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("epoch_end", context);
        Ok(())
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.note("fit_end", context);
        Ok(())
    }
}

fn calls(config: TrainerConfig, script: Script, names: &[&'static str]) -> Vec<String> {
    let seen = Seen::default();
    let noting = |name: &&'static str| Noting { name, seen: Arc::clone(&seen) };
    // A failure of the script is part of what is looked at.
    let _ = train_by(config, script, |trainer| names.iter().map(noting).fold(trainer, |t, c| t.callback(c)));
    let seen = seen.lock();
    seen.clone()
}

#[test]
fn an_epoch_of_two_batches() {
    let root = in_memory();
    let script = Script { batches: Some(2), ..Script::default() };
    let seen = calls(config(root.path(), 1), script, &["a"]);
    let expected = [
        "a fit_start 0/0/0",
        "a epoch_start 0/0/0",
        "a batch 0/0/1",
        "a before_step 0/0/1",
        "a step 0/1/1",
        "a batch 0/1/2",
        "a before_step 0/1/2",
        "a step 0/2/2",
        "a validation 0/2/2",
        "a validation_batches 0/2/2",
        "a validation_end 0/2/2",
        "a epoch_end 0/2/2",
        "a fit_end 0/2/2",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn callbacks_are_called_in_the_order_in_which_they_were_given() {
    let root = in_memory();
    let script = Script { batches: Some(1), ..Script::default() };
    let seen = calls(config(root.path(), 1), script, &["second", "first"]);
    assert_eq!(seen.len() % 2, 0);
    for pair in seen.chunks(2) {
        let (one, other) = (pair[0].strip_prefix("second "), pair[1].strip_prefix("first "));
        assert!(one.is_some() && one == other, "{pair:?}");
    }
}

#[test]
fn callbacks_and_strategies_of_a_list_in_boxes_are_called_as_they_are() {
    let root = in_memory();
    let seen = Seen::default();
    let noting = Noting { name: "a", seen: Arc::clone(&seen) };
    let callbacks: Vec<Box<dyn Callback<Model>>> = vec![Box::new(noting), Box::new(Ema::new(0.9))];
    let strategies: Vec<Box<dyn Strategy>> = vec![Box::new(LastStrategy::new(Last::new().with_topk(2)))];
    let config = config(root.path(), 2).with_strategies([]);
    train_by(config, Script::default(), |trainer| {
        let trainer = callbacks.into_iter().fold(trainer, |trainer, callback| trainer.callback(callback));
        strategies.into_iter().fold(trainer, |trainer, strategy| trainer.strategy(strategy))
    })
    .unwrap();
    let other = in_memory();
    let unboxed = calls(system_tests::config(other.path(), 2), Script::default(), &["a"]);
    assert_eq!(*seen.lock(), unboxed);
    let last = burn_ckpt::Checkpoint::open(run_dir(root.path()).join("last")).unwrap();
    assert_eq!(last.validated_part().unwrap().as_deref(), Some("ema"));
    assert_eq!(stems(&checkpoints(root.path()).join("last")), ["epoch=0-step=10", "epoch=1-step=20"]);
}

#[test]
fn a_run_that_fails_or_resumes_begins_and_ends_once() {
    let root = in_memory();
    let failing = Script { panic_in_step: Some(5), ..Script::default() };
    let seen = calls(config(root.path(), 2), failing, &["a"]);
    assert_eq!(seen.last().unwrap(), "a fit_end 0/4/4");
    let resumed = calls(config(root.path(), 2).with_ckpt_path("auto"), Script::default(), &["a"]);
    assert_eq!(resumed[..2], ["a fit_start 0/4/4", "a batch 0/4/5"]);
    assert!(resumed.iter().any(|call| call == "a epoch_start 1/10/0"));
    assert_eq!(resumed.last().unwrap(), "a fit_end 1/20/10");
}
