//! The callback of `docs/callbacks.md`, and the ready ones.

use burn::train::RegressionOutput;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, CallbackState, Ema, GradientGuard, LoggedScalar, NonFinite,
    Restored,
};

/// Ends the run when the loss of `patience` batches in a row is above a limit.
pub struct StopOnHighLoss {
    pub limit: f64,
    pub patience: u64,
    high: u64,
}

impl Callback<Regressor> for StopOnHighLoss {
    fn name(&self) -> String {
        "stop_on_high_loss".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        vec![LoggedScalar::of_training("high_batches")]
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, Regressor>,
        output: &RegressionOutput,
    ) -> CallbackResult {
        let loss: f64 = output.loss.clone().try_into_scalar()?;
        self.high = if loss > self.limit { self.high + 1 } else { 0 };
        context.log("high_batches", self.high as f64)?;
        if self.high >= self.patience {
            context.stop(format!("{} batches in a row had a loss above {}", self.high, self.limit));
        }
        Ok(())
    }

    fn state(&self) -> CallbackResult<Option<CallbackState>> {
        Ok(Some(CallbackState::new(1).with_value(&self.high)?))
    }

    fn restore(
        &mut self,
        _: &mut CallbackContext<'_, Regressor>,
        state: Option<CallbackState>,
    ) -> CallbackResult<Restored> {
        match state {
            Some(state) => self.high = state.up_to_version(1)?.value()?,
            None => return Ok(Restored::FromStart("the checkpoint has no count".to_owned())),
        }
        Ok(Restored::Complete)
    }
}

use burn::tensor::Device;
use burn_ckpt::FromCheckpoint;
use burn_trainer::Trainer;

use super::resumes_to_the_same_tensors;
use crate::on_each_backend::from_lightning::Regressor;

fn with_callbacks(trainer: Trainer<Regressor>) -> Trainer<Regressor> {
    let trainer = trainer
        .callback(
            GradientGuard::new().with_clip_norm(1.0).with_non_finite(NonFinite::Skip { most_in_a_row: 3 }),
        )
        .callback(Ema::new(0.999))
        .callback(StopOnHighLoss { limit: 100.0, patience: 10, high: 0 });
    assert!(trainer.config().early_stopping.is_none());
    trainer
}

#[test]
fn a_run_with_callbacks_resumes_to_the_same_tensors_and_the_average_loads_in_one_line() {
    let root = resumes_to_the_same_tensors::<Regressor>(with_callbacks);
    let run = root.path().join("burn_trainer_logs/r1");
    let device = Device::flex();
    let raw = Regressor::from_checkpoint(run.join("last"), &device).unwrap();
    let averaged = Regressor::loader(run.join("last")).part("ema").load(&device).unwrap().model;
    let inputs = burn::tensor::Tensor::from_floats([[0.1, 0.2, 0.3]], &device);
    let [raw, averaged] = [raw, averaged].map(|model| model.forward(inputs.clone()).into_scalar::<f32>());
    assert_ne!(raw, averaged);
}

/// The page's lines on loading.
#[allow(dead_code)]
fn loaded_as_the_page_does(device: Device) -> burn_ckpt::Result<Regressor> {
    let averaged = Regressor::loader("runs/a/best").part("ema").load(&device)?.model;
    Ok(averaged)
}
