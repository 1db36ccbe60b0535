//! The contenders that are this program: the trainer's loop and burn's own, with the examples' networks,
//! data and optimizers. Both have the mean of the loss as their one metric, and save nothing.

use std::fmt::Debug;
use std::sync::Arc;

use backend::Backend;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::Dataset;
use burn::grad_clipping::GradientClippingConfig;
use burn::module::ModuleDisplay;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::metric::{Adaptor, LossInput, LossMetric};
use burn::train::{InferenceStep, Learner, LearnerModel, SupervisedTraining, TrainStep};
use burn_trainer::config::WhenBusy;
use burn_trainer::metric::{MeanLoss, MeanLossInput};
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::process::PlainRenderer;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{ResumableDataLoader, Trainer, TrainerConfig};
use char_lm::{CharLmConfig, Window, WindowBatcher, Windows};
use clap::ValueEnum;
use digits::{DigitsConfig, ImageBatcher};

use crate::checkpoint::measurement::peak_of_this_process;
use crate::program::Result;

use super::data::Repeated;
use super::network::{Network, trained_parameters};
use super::task::{Measured, Task};
use super::timed_model::Timed;

/// A loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// The trainer's.
    Ours,
    /// burn's own.
    Burns,
}

type Loader<T> = Arc<dyn DataLoader<T>>;

/// The seed of weights and of the order of the data.
const SEED: u64 = 42;
/// The threads that prepare batches, as in the examples.
const WORKERS: usize = 1;

/// Trains what the task says, in this process.
///
/// # Errors
///
/// Those of the loop, and for a backend that the program was not built for.
pub(crate) fn train(of: Loop, task: &Task) -> Result<Measured> {
    let device = Backend::from_str(&task.backend, false)?.device()?;
    device.seed(SEED);
    let mut measured = match &task.network {
        Network::Digits { .. } => train_digits(of, task, &device)?,
        Network::CharLm { .. } => train_char_lm(of, task, &device)?,
    };
    measured.peak = peak_of_this_process();
    Ok(measured)
}

/// Items of a run: one batch more than the steps, whose beginning is the end of the last one.
fn items(task: &Task) -> usize {
    (task.warm_up.max(1) + task.steps + 1) * task.batch
}

fn train_digits(of: Loop, task: &Task, device: &Device) -> Result<Measured> {
    let Network::Digits { channels, hidden, dropout, learning_rate } = task.network else {
        return Err("it is another network".into());
    };
    let hparams = DigitsConfig::new().with_channels(channels).with_hidden(hidden).with_dropout(dropout);
    let (train, valid) = digits::load(hparams.data)?;
    let adam = AdamConfig::new();
    let optimizer = if of == Loop::Ours { adam.init_streamed() } else { adam.init() };
    let loaders = Loaders {
        train: loader(of, task, ImageBatcher, Repeated::new(train, items(task))),
        valid: loader(of, task, ImageBatcher, Repeated::new(valid, task.batch)),
    };
    run(of, task, device, hparams.init(&device.clone().autodiff()), optimizer, learning_rate, loaders)
}

fn train_char_lm(of: Loop, task: &Task, device: &Device) -> Result<Measured> {
    let Network::CharLm {
        size, context, width, layers, heads, learning_rate, weight_decay, clip_norm, ..
    } = task.network
    else {
        return Err("it is another network".into());
    };
    let hparams = CharLmConfig::new()
        .with_size(size)
        .with_context(Some(context))
        .with_width(Some(width))
        .with_layers(Some(layers))
        .with_heads(Some(heads))
        .with_weight_decay(weight_decay)
        .with_clip_norm(clip_norm);
    let (train, valid) = char_lm::load()?;
    let optimizer = match of {
        Loop::Ours => hparams.optimizer(),
        Loop::Burns => adam_w(&hparams),
    };
    let windows = |text, count| Windows::new(text, context, count);
    let batcher = |text| WindowBatcher::new(text, context);
    let train_loader = match of {
        Loop::Ours => ResumableDataLoader::builder(batcher(&train))
            .batch_size(task.batch)
            .num_workers(WORKERS)
            .shuffle(SEED)
            .transform(Window::anywhere)
            .build(windows(&train, items(task))),
        Loop::Burns => loader(of, task, batcher(&train), windows(&train, items(task))),
    };
    let loaders = Loaders {
        train: train_loader,
        valid: loader(of, task, batcher(&valid), windows(&valid, task.batch)),
    };
    run(of, task, device, hparams.init(&device.clone().autodiff()), optimizer, learning_rate, loaders)
}

/// The example's optimizer as burn's own loop would have it.
fn adam_w(hparams: &CharLmConfig) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_beta_2(0.99)
        .with_epsilon(1e-8)
        .with_weight_decay(hparams.weight_decay as f32)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(hparams.clip_norm as f32)))
        .init()
}

/// The loader that belongs to a loop.
fn loader<I, O>(
    of: Loop,
    task: &Task,
    batcher: impl Batcher<I, O> + 'static,
    items: impl Dataset<I> + 'static,
) -> Loader<O>
where
    I: Clone + Debug + Send + Sync + 'static,
    O: Clone + Debug + Send + Sync + 'static,
{
    match of {
        Loop::Ours => ResumableDataLoader::builder(batcher)
            .batch_size(task.batch)
            .num_workers(WORKERS)
            .shuffle(SEED)
            .build(items),
        Loop::Burns => DataLoaderBuilder::new(batcher)
            .batch_size(task.batch)
            .num_workers(WORKERS)
            .shuffle(SEED)
            .build(items),
    }
}

/// What is trained on, and what is validated on.
struct Loaders<T, V> {
    train: Loader<T>,
    valid: Loader<V>,
}

/// One epoch of the loop, with a constant learning rate.
fn run<M: LearnerModel + ModuleDisplay>(
    of: Loop,
    task: &Task,
    device: &Device,
    model: M,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    loaders: Loaders<<M as TrainStep>::Input, <M as InferenceStep>::Input>,
) -> Result<Measured>
where
    <M as TrainStep>::Output: Adaptor<LossInput> + Adaptor<MeanLossInput>,
    <M as InferenceStep>::Output: Adaptor<LossInput> + Adaptor<MeanLossInput>,
{
    let parameters = trained_parameters(&model);
    let (model, clock) = Timed::new(model, task, device);
    let learner = Learner::new(model, optimizer, learning_rate);
    let renderer = Box::new(PlainRenderer::hidden());
    let mut measured = Measured { parameters, ..Measured::default() };
    match of {
        Loop::Ours => {
            let trainer = Trainer::new(config(task), &())?.devices([device.clone()]);
            let training = trainer.training(loaders.train, loaders.valid);
            let training = training.renderer(renderer).metrics((MeanLoss::new(),));
            let result = trainer.fit(training, learner)?;
            measured.loss = result.metrics.get("train_loss").copied();
            if task.save_every > 0 {
                measured.saves = Some(result.saves);
                measured.skipped_saves = Some(result.skipped_saves);
            }
        }
        Loop::Burns if task.save_every > 0 => return Err("burn's loop saves at the ends of epochs".into()),
        Loop::Burns => {
            let training = SupervisedTraining::new(&task.run_dir, loaders.train, loaders.valid);
            let training = training.renderer(renderer).with_application_logger(None);
            drop(training.metrics((LossMetric::new(),)).num_epochs(1).launch(learner));
        }
    }
    clock.complete(task, measured)
}

/// The trainer's settings: it saves as often as the task says, and then never waits for the disk.
fn config(task: &Task) -> TrainerConfig {
    let config = TrainerConfig::new()
        .with_root(&task.run_dir)
        .with_run_id("run")
        .with_max_epochs(1)
        .with_handle_signals(false)
        .with_when_busy(WhenBusy::Skip);
    match task.save_every {
        0 => config.with_checkpoint_saving(false),
        every => {
            let last = Last::new().with_every_epoch(false).with_every_n_steps(every as u64);
            config.with_strategies([StrategyConfig::Last(last)])
        }
    }
}
