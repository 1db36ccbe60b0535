//! The trainer's loop without saves against burn's own, and with trackers against the same without: runs that
//! take turns in one process.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::metric::{Adaptor, LossInput, LossMetric};
use burn::train::{InferenceStep, Learner, LearnerModel, SupervisedTraining, TrainStep};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::process::PlainRenderer;
use burn_trainer::{Trainer, TrainerConfig};
use digits::{DigitsConfig, ImageBatcher};

use crate::checkpoint::measurement::{Measurement, WARM_UP, median};
use crate::checkpoint::task::Task;
use crate::program::Result;

use super::training_model::{Clock, Clocked, learner, loader};

/// The example's model and data.
pub const DIGITS: &str = "digits";
/// Small layers, whose steps take about a millisecond.
pub const SMALL: &str = "small layers";
/// What follows a job's name where burn's loop trained it.
pub const BURNS: &str = ", burn's loop";
/// What follows where the trainer did.
pub const OURS: &str = ", trainer";
/// What follows where the trainer did, with all trackers.
pub const TRACKED: &str = ", trainer with trackers";
/// The variable with the address of an MLflow server, which takes part if it is set.
const MLFLOW: &str = "MLFLOW_TRACKING_URI";
/// Steps of a run with small layers.
const STEPS: usize = 1000;

/// The loops that take turns.
const KINDS: [&str; 3] = [BURNS, OURS, TRACKED];

type Loader<T> = Arc<dyn DataLoader<T>>;

/// Medians of the steps, one for each run.
///
/// # Errors
///
/// Those of the trainer.
pub fn compare(task: &Task) -> Result<Measurement> {
    let mut measured = Measurement::default();
    let steps = if task.quick { STEPS / 10 } else { STEPS };
    let epochs = if task.quick { 1 } else { 4 };
    // In turns, and in the other order the next time.
    for run in 0..task.repetitions().max(2) {
        for turn in 0..KINDS.len() {
            let kind = KINDS[(run + turn) % KINDS.len()];
            let ours = kind != BURNS;
            let mut note = |job: &str, step: f64| {
                measured.times.entry(format!("{job}{kind}")).or_default().push(step);
            };
            let dir = task.dir.join(format!("{run}-{turn}"));
            let small = || {
                let (learner, clock) = learner(&task.case, optimizer(ours));
                (learner, clock, loader(&task.case, steps), loader(&task.case, 1))
            };
            note(SMALL, step(kind, &dir.join("small"), 1, small())?);
            note(DIGITS, step(kind, &dir.join("digits"), epochs, digits_job(optimizer(ours))?)?);
            std::fs::remove_dir_all(&dir)?;
        }
    }
    Ok(measured)
}

type Job<M> = (Learner<M>, Clock, Loader<<M as TrainStep>::Input>, Loader<<M as InferenceStep>::Input>);

/// The median step of a run.
fn step<M: LearnerModel>(kind: &str, dir: &Path, epochs: usize, job: Job<M>) -> Result<f64>
where
    <M as TrainStep>::Output: Adaptor<LossInput>,
    <M as InferenceStep>::Output: Adaptor<LossInput>,
{
    let (learner, clock, train, valid) = job;
    if kind != BURNS {
        let config = TrainerConfig::new().with_handle_signals(false);
        let mut config = config.with_root(dir).with_run_id("run").with_max_epochs(epochs);
        if kind == TRACKED {
            config = config.with_trackers(trackers()).with_trackers_wait_seconds(60.0);
        }
        let trainer = Trainer::new(config, &())?;
        let training = trainer.training(train, valid).metrics((LossMetric::new(),));
        trainer.fit(training, learner)?;
    } else {
        let training = SupervisedTraining::new(dir, train, valid)
            .renderer(Box::new(PlainRenderer::new()))
            .metrics((LossMetric::new(),))
            .num_epochs(epochs);
        drop(training.launch(learner));
    }
    let begins = clock.moments().begins;
    let steps: Vec<f64> = begins.windows(2).skip(WARM_UP).map(|pair| pair[1] - pair[0]).collect();
    median(&steps).ok_or_else(|| "the loop took no steps".into())
}

/// All trackers: that of MLflow where there is a server.
fn trackers() -> Vec<&'static str> {
    let server = std::env::var_os(MLFLOW).map(|_| "mlflow");
    ["csv", "tensorboard"].into_iter().chain(server).collect()
}

/// Adam as each of the two loops is used with it.
fn optimizer(ours: bool) -> ModuleOptimizer {
    let adam = AdamConfig::new();
    if ours { adam.init_streamed() } else { adam.init() }
}

/// The example, with burn's own loader for both.
fn digits_job(optimizer: ModuleOptimizer) -> Result<Job<Clocked<digits::Digits>>> {
    let hparams = DigitsConfig::new();
    let (train, valid) = digits::load(hparams.data)?;
    let loader = || DataLoaderBuilder::new(ImageBatcher).batch_size(hparams.batch_size);
    let device = Device::flex().autodiff();
    device.seed(42);
    let (model, clock) = Clocked::new(hparams.init(&device));
    let learner = Learner::new(model, optimizer, hparams.learning_rate);
    Ok((learner, clock, loader().shuffle(42).build(train), loader().build(valid)))
}
