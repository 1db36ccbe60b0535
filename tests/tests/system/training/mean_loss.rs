//! `MeanLoss` and `MeanOf`: the value of a split is the mean over its items, whatever the sizes of its
//! batches, also after a resume within an epoch.

use std::path::Path;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::metric::{Adaptor, LossMetric, Metric, MetricAttributes};
use burn::train::{InferenceStep, Learner, RegressionOutput, SupervisedTraining, TrainOutput, TrainStep};
use burn_trainer::metric::{MeanLoss, MeanOf};
use burn_trainer::{FitResult, Trainer};
use system_tests::config;
use system_tests::models::small::{in_two_parts_is_as_in_one, shuffling};
use system_tests::run_files::{in_memory, run_dir};

/// A model whose loss is the mean of its input, whatever its parameters.
#[derive(Module, Debug)]
struct Losses {
    unused: Linear,
}

impl Losses {
    fn output(&self, losses: Tensor<2>) -> RegressionOutput {
        let output = self.unused.forward(losses.clone());
        let loss = losses.clone().mean() + output.clone().mean() * 0.0;
        RegressionOutput::new(loss, output, losses)
    }
}

impl TrainStep for Losses {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, losses: Tensor<2>) -> TrainOutput<RegressionOutput> {
        let item = self.output(losses);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Losses {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, losses: Tensor<2>) -> RegressionOutput {
        self.output(losses)
    }
}

/// The targets and the errors of a batch: `[batch, 1]`.
struct Columns {
    targets: Tensor<2>,
    errors: Tensor<2>,
}

impl Adaptor<Columns> for RegressionOutput {
    fn adapt(&self) -> Columns {
        let errors = self.output.clone() - self.targets.clone();
        Columns { targets: self.targets.clone(), errors }
    }
}

/// The mean of the targets, from the mean of each batch or from the values of its items.
fn target(of_items: bool) -> MeanOf<Columns> {
    MeanOf::new("Mean target", move |columns: &Columns| {
        let (targets, items) = (columns.targets.clone(), columns.targets.dims()[0]);
        (if of_items { targets.flatten(0, 1) } else { targets.mean() }, items)
    })
}

fn absolute_error() -> MeanOf<Columns> {
    MeanOf::new("Absolute error", |columns: &Columns| {
        (columns.errors.clone().abs().mean(), columns.errors.dims()[0])
    })
}

struct Column;

impl Batcher<f32, Tensor<2>> for Column {
    fn batch(&self, losses: Vec<f32>, device: &Device) -> Tensor<2> {
        let rows = losses.len();
        Tensor::from_data(TensorData::new(losses, [rows, 1]), device)
    }
}

/// Trains an epoch on 33 items, of which 32 have the loss 1 and the last one 33.
fn train(
    root: &Path,
    batch_size: usize,
    set_up: impl FnOnce(SupervisedTraining<Losses>) -> SupervisedTraining<Losses>,
) -> FitResult<Losses> {
    let trainer = Trainer::new(config(root, 1), &()).unwrap();
    let device = trainer.device(Device::flex()).unwrap();
    let items = || InMemDataset::new([vec![1.0; 32], vec![33.0]].concat());
    let data = || trainer.loader(Column).batch_size(batch_size).build(items());
    let training = set_up(trainer.training(data(), data()));
    let model = Losses { unused: LinearConfig::new(1, 1).init(&device) };
    trainer.fit(training, Learner::new(model, SgdConfig::new().init(), 1e-3)).unwrap()
}

#[test]
fn every_item_counts_the_same_in_batches_of_any_size() {
    for batch_size in [1, 16, 32, 33] {
        let root = in_memory();
        let result = train(root.path(), batch_size, |training| training.metrics((MeanLoss::new(),)));
        for (metric, split) in [("train_loss", "train"), ("val_loss", "valid")] {
            let mean = result.metrics[metric];
            // A batch's mean has the precision of an f32.
            assert!((mean - 65.0 / 33.0).abs() < 1e-6, "{metric} is {mean} in batches of {batch_size}");
            let log = std::fs::read_to_string(run_dir(root.path()).join(split).join("epoch-1/Loss.log"));
            assert_eq!(log.unwrap().lines().last(), Some(format!("{mean},final").as_str()));
        }
    }
}

#[test]
fn a_named_number_has_its_mean_over_the_items_in_both_splits() {
    for (batch_size, of_items) in [(1, true), (16, true), (32, false), (33, false)] {
        let root = in_memory();
        let metrics = (MeanLoss::new(), target(of_items), absolute_error());
        let result = train(root.path(), batch_size, |training| training.metrics(metrics));
        for metric in ["train_mean_target", "val_mean_target"] {
            let mean = result.metrics[metric];
            assert!((mean - 65.0 / 33.0).abs() < 1e-6, "{metric} is {mean} in batches of {batch_size}");
        }
        assert!(result.metrics["val_absolute_error"] > 0.0, "{:?}", result.metrics);
    }
}

#[test]
fn a_named_number_is_better_where_it_is_lower_unless_the_program_says_otherwise() {
    let is_higher_better = |metric: MeanOf<Columns>| match metric.attributes() {
        MetricAttributes::Numeric(attributes) => attributes.higher_is_better,
        MetricAttributes::None => panic!("it has no direction"),
    };
    assert!(!is_higher_better(target(true)));
    assert!(is_higher_better(target(true).higher_is_better(true)));
}

#[test]
fn burns_loss_counts_a_last_batch_of_one_item_as_a_full_one() {
    let root = in_memory();
    let result = train(root.path(), 32, |training| training.metrics((LossMetric::new(),)));
    assert_eq!(result.metrics["val_loss"], 17.0, "burn has changed: MeanLoss may not be needed");
}

#[test]
fn a_run_resumed_within_an_epoch_with_a_smaller_last_batch_has_the_same_mean() {
    // 80 items in batches of 7: the twelfth and last one has 3. One failure is in the first batch of an
    // epoch, and one in the last.
    in_two_parts_is_as_in_one(&|| shuffling(7), &[5, 12, 13, 24], |training| {
        training.metrics((MeanLoss::new(), absolute_error(), target(true).higher_is_better(true)))
    });
}
