//! `docs/callbacks.md` and `docs/recipes.md`: their code stands here, and trains.

mod callbacks;
mod metrics;

use std::path::Path;

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{InferenceStep, Learner, LearnerModel, RegressionOutput, TrainStep};
use burn_ckpt::{Checkpoint, FromCheckpoint};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::{Trainer, TrainerConfig};
use system_tests::backend;

use crate::on_each_backend::from_lightning::{Batch, INPUTS, RegressorConfig, RowBatcher, rows};

/// Trains a model up to an epoch, and resumes if the run has checkpoints. All runs of a test begin with the
/// same values: the tests of this process share the device's random numbers, so seeding it would not do.
fn train<M>(model: &M, root: &Path, epochs: usize, set_up: impl FnOnce(Trainer<M>) -> Trainer<M>)
where
    M: LearnerModel + FromCheckpoint<Hparams = RegressorConfig>,
    M: TrainStep<Input = Batch, Output = RegressionOutput>,
    M: InferenceStep<Input = Batch, Output = RegressionOutput>,
{
    let hparams = hparams();
    let config = TrainerConfig::new()
        .with_primary_metric("val_loss")
        .with_root(root)
        .with_run_id("r1")
        .with_max_epochs(epochs)
        .with_ckpt_path("auto");
    let trainer = set_up(Trainer::new(config, &hparams).unwrap());
    let train = trainer.loader(RowBatcher).batch_size(8).shuffled().build(rows(40));
    let valid = trainer.loader(RowBatcher).batch_size(8).build(rows(10));
    let training = trainer.training(train, valid).metrics((LossMetric::new(),));
    let learner = Learner::new(model.clone(), AdamConfig::new().init_streamed(), 1e-2);
    trainer.fit(training, learner).unwrap();
}

/// Without dropout, which would draw from those numbers too.
fn hparams() -> RegressorConfig {
    RegressorConfig::new(INPUTS).with_hidden(8).with_dropout(0.0)
}

/// Every tensor's digest in the newest checkpoint.
fn digests(root: &Path) -> Vec<(String, String)> {
    let last = Checkpoint::open(root.join("burn_trainer_logs/r1/last")).unwrap();
    let tensors = last.verify().unwrap().tensors;
    tensors.into_iter().map(|(name, info)| (name, info.blake3)).collect()
}

/// Trains 6 epochs without a stop, and 3 epochs that are resumed to 6. Returns the directory of the first
/// run.
fn resumes_to_the_same_tensors<M>(set_up: impl Fn(Trainer<M>) -> Trainer<M>) -> tempfile::TempDir
where
    M: LearnerModel + FromCheckpoint<Hparams = RegressorConfig>,
    M: TrainStep<Input = Batch, Output = RegressionOutput>,
    M: InferenceStep<Input = Batch, Output = RegressionOutput>,
{
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let device: Device = backend::device().autodiff();
    let model = M::from_hparams(&hparams(), &device);
    // burn draws a parameter's values when it is first used, separately for each clone: they are put in here.
    let values = model.clone().into_record();
    let model = model.load_record(values);
    train(&model, whole.path(), 6, &set_up);
    train(&model, parts.path(), 3, &set_up);
    assert_ne!(digests(whole.path()), digests(parts.path()), "three epochs are not six");
    train(&model, parts.path(), 6, &set_up);
    assert_eq!(digests(whole.path()), digests(parts.path()));
    whole
}
