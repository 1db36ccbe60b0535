//! A run that a callback ends.

use burn_ckpt::Checkpoint;
use burn_trainer::EndReason;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use system_tests::models::small::{Model, Script, config, train_by};
use system_tests::run_files::{checkpoints, in_memory, run_dir};

/// Ends the run at a step, also one that has come that far before.
struct StopAt(u64);

impl Callback<Model> for StopAt {
    fn name(&self) -> String {
        "stop_at".to_owned()
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        self.on_train_step_end(context)
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, Model>) -> CallbackResult {
        if context.global_step() >= self.0 {
            context.stop(format!("step {} is done", self.0));
        }
        Ok(())
    }
}

#[test]
fn it_ends_as_done_with_its_state_saved() {
    for (step, epochs) in [(14, 1), (20, 2), (1, 0)] {
        let root = in_memory();
        let settings = || config(root.path(), 5).with_ckpt_path("auto");
        let result =
            train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(step))).unwrap();
        assert_eq!((result.global_step, result.epochs), (step, epochs));
        let (name, reason) = ("stop_at".to_owned(), format!("step {step} is done"));
        assert_eq!(result.ended_because, Some(EndReason::Callback { name, reason }));
        assert!(result.interrupted.is_none() && !result.finished_before);
        let last = checkpoints(root.path()).join("last.ckpt");
        assert_eq!(Checkpoint::open(&last).unwrap().verify().unwrap().global_step, step);
        // Started again, there is nothing to do.
        let again =
            train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(step))).unwrap();
        assert!(again.finished_before && again.global_step == step);
        // With a later end it continues as if it had never stopped.
        train_by(settings(), Script::default(), |trainer| trainer.callback(StopAt(33))).unwrap();
        let whole = in_memory();
        train_by(config(whole.path(), 5), Script::default(), |trainer| trainer.callback(StopAt(33))).unwrap();
        let last = |root: &std::path::Path| {
            let path = checkpoints(root).join("last.ckpt");
            let metadata = Checkpoint::open(path).unwrap().verify().unwrap();
            (metadata.global_step, metadata.tensors, metadata.metrics)
        };
        assert_eq!(last(root.path()), last(whole.path()));
        assert!(run_dir(root.path()).join("train/epoch-4").exists());
    }
}
