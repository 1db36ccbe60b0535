//! The output and the metric of `docs/recipes.md`.

use std::sync::Arc;

use burn::tensor::{ExecutionError, Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use burn_trainer::metric::{MeanLoss, MeanLossInput};

/// What a step returns.
pub struct Fit {
    loss: Tensor<1>,
    errors: Tensor<2>, // [batch, 1]
}

impl ItemLazy for Fit {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        Ok(Self { loss: self.loss.without_autodiff(), errors: self.errors.without_autodiff() })
    }
}

/// For `MeanLoss`: the batch's mean loss, and its number of items.
impl Adaptor<MeanLossInput> for Fit {
    fn adapt(&self) -> MeanLossInput {
        MeanLossInput::new(self.loss.clone(), self.errors.dims()[0])
    }
}

/// The mean of the absolute errors, over the items.
#[derive(Clone, Default)]
pub struct Mae(NumericMetricState);

/// What `Mae` is computed from.
pub struct Errors(Tensor<2>);

impl Adaptor<Errors> for Fit {
    fn adapt(&self) -> Errors {
        Errors(self.errors.clone())
    }
}

impl Metric for Mae {
    type Input = Errors;

    fn name(&self) -> MetricName {
        Arc::new("MAE".to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(&mut self, input: &Errors, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let mean: f64 = input.0.clone().abs().mean().try_into_scalar()?;
        self.0.update(mean, input.0.dims()[0]);
        Ok(self.0.compute_update(FormatOptions::new(self.name()).precision(3)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.0.compute_final(FormatOptions::new(self.name()).precision(3)))
    }

    fn clear(&mut self) {
        self.0.reset();
    }
}

impl Numeric for Mae {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.0.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.0.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.0.final_value()
    }
}

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;
use burn_trainer::evaluation::predict;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{ResumableDataLoader, Trainer, TrainerConfig};
use system_tests::backend;

use super::hparams;
use crate::on_each_backend::from_lightning::{Batch, Regressor, RegressorConfig, RowBatcher, rows};

/// The page's regressor, with an output of its own.
#[derive(Module, Debug)]
struct Fitted {
    regressor: Regressor,
}

impl FromCheckpoint for Fitted {
    type Hparams = RegressorConfig;

    fn from_hparams(hparams: &RegressorConfig, device: &Device) -> Self {
        Self { regressor: Regressor::from_hparams(hparams, device) }
    }
}

impl Fitted {
    fn output(&self, batch: Batch) -> Fit {
        let errors = batch.targets - self.regressor.forward(batch.inputs);
        Fit { loss: errors.clone().powi_scalar(2).mean(), errors }
    }
}

impl TrainStep for Fitted {
    type Input = Batch;
    type Output = Fit;

    fn step(&self, batch: Batch) -> TrainOutput<Fit> {
        let item = self.output(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Fitted {
    type Input = Batch;
    type Output = Fit;

    fn step(&self, batch: Batch) -> Fit {
        self.output(batch)
    }
}

#[test]
fn the_pages_metric_ranks_the_checkpoints_by_the_mean_over_the_items() {
    let root = tempfile::tempdir().unwrap();
    let config = TrainerConfig::new()
        .with_primary_metric("val_mae")
        .with_root(root.path())
        .with_run_id("r1")
        .with_max_epochs(3);
    let trainer = Trainer::new(config, &hparams()).unwrap();
    let device = trainer.device(backend::device()).unwrap();
    let train = trainer.loader(RowBatcher).batch_size(8).shuffled().build(rows(40));
    let valid = trainer.loader(RowBatcher).batch_size(8).build(rows(10));
    let training = trainer.training(train, valid).metrics((MeanLoss::new(), Mae::default()));
    let optimizer = AdamConfig::new().init_streamed();
    let result =
        trainer.fit(training, Learner::new(Fitted::from_hparams(&hparams(), &device), optimizer, 1e-2));
    let result = result.unwrap();

    for name in ["train_loss", "train_mae", "val_loss", "val_mae"] {
        assert!(result.metrics.contains_key(name), "{name}: {:?}", result.metrics);
    }
    let model = result.best_model(&backend::device()).unwrap();
    // Batches of 8 and of 2: a mean over the batches is another number.
    let loader = ResumableDataLoader::builder(RowBatcher).batch_size(8).build(rows(10));
    let outputs: Vec<Fit> = predict(&model, loader).iter().map(|output| output.unwrap()).collect();
    let sum: f64 = outputs.iter().map(|output| output.errors.clone().abs().sum().into_scalar::<f64>()).sum();
    let best = result.best().unwrap().score;
    assert!((best - sum / 10.0).abs() < 1e-6, "{best}, {sum}");
}
