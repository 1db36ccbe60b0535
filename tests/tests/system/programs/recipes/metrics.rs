//! The output and the metrics of `docs/recipes.md`.

use burn::tensor::{ExecutionError, Tensor};
use burn::train::metric::{Adaptor, ItemLazy};
use burn_trainer::metric::{MeanLoss, MeanLossInput, MeanOf};

/// What a step returns.
#[derive(Clone)]
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

/// For every `MeanOf`.
impl Adaptor<Fit> for Fit {
    fn adapt(&self) -> Fit {
        self.clone()
    }
}

use std::sync::Arc;

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::{InferenceStep, Learner, TrainOutput, TrainStep};
use burn_ckpt::FromCheckpoint;
use burn_trainer::evaluation::{evaluate, predict};
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
    let mae = MeanOf::new("MAE", |fit: &Fit| (fit.errors.clone().abs().mean(), fit.errors.dims()[0]));
    let bias = MeanOf::new("Bias", |fit: &Fit| (fit.errors.clone().mean(), fit.errors.dims()[0]));
    let training = trainer.training(train, valid).metrics((MeanLoss::new(), mae.clone(), bias));
    let optimizer = AdamConfig::new().init_streamed();
    let result =
        trainer.fit(training, Learner::new(Fitted::from_hparams(&hparams(), &device), optimizer, 1e-2));
    let result = result.unwrap();

    for name in ["train_loss", "train_mae", "train_bias", "val_loss", "val_mae", "val_bias"] {
        assert!(result.metrics.contains_key(name), "{name}: {:?}", result.metrics);
    }
    let model = result.best_model(&backend::device()).unwrap();
    // Batches of 8 and of 2: a mean over the batches is another number.
    let loader = ResumableDataLoader::builder(RowBatcher).batch_size(8).build(rows(10));
    let evaluated = evaluate(&model, Arc::clone(&loader), (mae,)).unwrap().metrics["test_mae"];
    let outputs: Vec<Fit> = predict(&model, loader).iter().map(|output| output.unwrap()).collect();
    let sum: f64 = outputs.iter().map(|output| output.errors.clone().abs().sum().into_scalar::<f64>()).sum();
    let best = result.best().unwrap().score;
    assert!((best - sum / 10.0).abs() < 1e-6, "{best}, {sum}");
    assert_eq!(evaluated, best);
}
