//! The evaluation of a model on a data set: burn's steps, loaders, metrics and renderers, in a loop like that
//! of burn's evaluator.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::metric::MetricId;
use burn::train::renderer::{EvaluationName, MetricsRenderer};
use burn::train::{
    AsyncProcessorEvaluation, EvaluationItem, EvaluatorEvent, EventProcessorEvaluation, InferenceStep,
};
use burn_ckpt::{Checkpoint, FromCheckpoint, Loaded, Metadata};
use indexmap::IndexMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::metric_list::{EvaluationMetrics, MetricList};
use super::predictions::{Predictions, on_device_of, predict};
use super::processor::{EvaluationProcessor, Outcome};
use super::result::{EvaluatedCheckpoint, Evaluation};
use crate::config::BatchLimit;
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::metrics::{MetricTable, split_name};
use crate::process::{PlainRenderer, run_output};

/// The name of the data unless another is set, as burn calls the split.
const TEST: &str = "test";
/// The method that limits the data, in errors.
const LIMIT: &str = "ModelEvaluator::limit_batches";

/// The metrics of a model on a data set, in validation mode: see [`ModelEvaluator::evaluate`], which this
/// calls with the defaults.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use burn::data::dataloader::DataLoader;
/// # use burn::module::Module;
/// # use burn::train::InferenceStep;
/// # use burn::train::metric::Adaptor;
/// use burn_trainer::metric::{MeanLoss, MeanLossInput};
///
/// # fn run<M>(model: &M, loader: Arc<dyn DataLoader<<M as InferenceStep>::Input>>) -> burn_trainer::Result<()>
/// # where M: Module + InferenceStep, M::Output: Adaptor<MeanLossInput> {
/// let evaluation = burn_trainer::evaluation::evaluate(model, loader, (MeanLoss::new(),))?;
/// println!("loss {}", evaluation.metrics["test_loss"]);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// As for [`ModelEvaluator::evaluate`].
pub fn evaluate<M: Module + InferenceStep>(
    model: &M,
    loader: Arc<dyn DataLoader<M::Input>>,
    metrics: impl EvaluationMetrics<M::Output>,
) -> Result<Evaluation> {
    ModelEvaluator::new(model).evaluate(loader, metrics)
}

/// Plain lines, and none in a program whose run shows no progress.
fn default_renderer() -> Box<dyn MetricsRenderer> {
    Box::new(if run_output::progress().is_on() { PlainRenderer::new() } else { PlainRenderer::hidden() })
}

/// A model that is to be evaluated, of this process or of a checkpoint.
///
/// The [module's page](crate::evaluation) has an example.
pub struct ModelEvaluator<M> {
    model: M,
    checkpoint: Option<EvaluatedCheckpoint>,
    part: Option<String>,
    split: String,
    limit: Option<BatchLimit>,
    renderer: Option<Box<dyn MetricsRenderer>>,
}

/// Without the model.
impl<M> fmt::Debug for ModelEvaluator<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelEvaluator")
            .field("checkpoint", &self.checkpoint)
            .field("part", &self.part)
            .field("split", &self.split)
            .finish_non_exhaustive()
    }
}

impl<M: Module + InferenceStep> ModelEvaluator<M> {
    /// Evaluates a model as it is now. Later changes of the model are not seen.
    #[must_use]
    pub fn new(model: &M) -> Self {
        Self {
            model: model.valid(),
            checkpoint: None,
            part: None,
            split: TEST.to_owned(),
            limit: None,
            renderer: None,
        }
    }

    /// Evaluates the model of a checkpoint as the run has validated it: where
    /// [`Ema`](crate::callbacks::Ema) validates, its average. Each tensor is verified while it is loaded. The
    /// path is a file, a link, or `best` or `last` in a run's directory, as [`burn_ckpt::locate`] finds it.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] with the errors of [`burn_ckpt::CheckpointLoader::load`].
    pub fn of_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self>
    where
        M: FromCheckpoint,
    {
        Self::of_loaded(&M::loader(path).as_validated().load(device)?)
    }

    /// Evaluates a model that was loaded with options: `M::loader(path)` is the parameters that were trained,
    /// `M::loader(path).part("ema")` their average.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when the checkpoint's digest cannot be found out.
    pub fn of_loaded(loaded: &Loaded<M>) -> Result<Self>
    where
        M: FromCheckpoint,
    {
        let checkpoint = evaluated(&loaded.checkpoint)?;
        let config = loaded.checkpoint.metadata()?.trainer_config;
        let limit = (config["fast_dev_run"] == true).then_some(BatchLimit::Count(1));
        let part = loaded.part.clone();
        Ok(Self { checkpoint: Some(checkpoint), part, limit, ..Self::new(&loaded.model) })
    }

    /// Sets the name of the data, which begins the names of the metrics: `test` by default, for `test_loss`.
    /// With `val` they are called as in training.
    #[must_use]
    pub fn split(mut self, name: impl Into<String>) -> Self {
        self.split = name.into();
        self
    }

    /// Evaluates on the first batches alone: a number, or a fraction of all, which needs a loader of ours.
    /// The numbers are then those of a part of the data, and [`Evaluation::limit_batches`] says so.
    #[must_use]
    pub fn limit_batches(mut self, limit: impl Into<BatchLimit>) -> Self {
        self.limit = Some(limit.into());
        self
    }

    /// Shows progress with a renderer, such as that of [`FitResult`](crate::FitResult), in place of plain
    /// lines on standard error. It is kept for the next evaluation.
    #[must_use]
    pub fn renderer(mut self, renderer: Box<dyn MetricsRenderer>) -> Self {
        self.renderer = Some(renderer);
        self
    }

    /// The model's outputs in the order of the data: see [`predict`].
    pub fn predict(&self, loader: Arc<dyn DataLoader<M::Input>>) -> Predictions<M> {
        predict(&self.model, loader)
    }

    /// Computes the metrics over all the data of a loader: the final value of each, as at the end of a
    /// validation. The metrics are those of burn, or any [`Metric`](burn::train::metric::Metric) that is
    /// [`Numeric`](burn::train::metric::Numeric).
    ///
    /// # Errors
    ///
    /// [`Error::Evaluation`] with the error of the loader or of a metric; [`Error::NoBatch`] when the loader
    /// gives no batch; [`Error::Config`] for a name of the data without a letter or digit, for two metrics of
    /// one name, and for a limit that leaves no batch or is a fraction of a number that the loader does not
    /// say.
    pub fn evaluate(
        &mut self,
        loader: Arc<dyn DataLoader<M::Input>>,
        metrics: impl EvaluationMetrics<M::Output>,
    ) -> Result<Evaluation> {
        let metrics = metrics.into_list();
        let names = self.names(&metrics)?;
        let limit = self.limit_of(&*loader)?;
        let started = Instant::now();
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let renderer = self.renderer.take().unwrap_or_else(default_renderer);
        let name = EvaluationName::new(&self.split);
        let processor = EvaluationProcessor::new(metrics, renderer, name.clone(), Arc::clone(&outcome));
        let mut processor = AsyncProcessorEvaluation::new(processor);
        let passed = self.pass(&mut processor, name, loader, limit, &outcome);
        self.renderer = Some(processor.renderer());
        let items = passed?;
        let Outcome { values, failure } = std::mem::take(&mut *outcome.lock());
        if let Some(failure) = failure {
            return Err(Error::Evaluation { part: failure.part, source: failure.source });
        }
        let named = values.into_iter().filter_map(|(id, value)| Some((names.get(&id)?.clone(), value)));
        Ok(Evaluation {
            split: self.split.clone(),
            part: self.part.clone(),
            timestamp: Timestamp::now(),
            items,
            limit_batches: limit,
            seconds: started.elapsed().as_secs_f64(),
            metrics: named.collect(),
            checkpoint: self.checkpoint.clone(),
        })
    }

    /// The number of batches that are used, if some are left out.
    fn limit_of(&self, loader: &dyn DataLoader<M::Input>) -> Result<Option<u64>> {
        let Some(limit) = self.limit else { return Ok(None) };
        if let Some(reason) = limit.wrong() {
            return Err(Error::config(LIMIT, reason));
        }
        if limit.is_zero() {
            let reason =
                "0 leaves nothing to evaluate: give a number of batches above 0, or a fraction of all";
            return Err(Error::config(LIMIT, reason));
        }
        let all = LoaderSize::of(loader).map(LoaderSize::batches);
        let used = limit.of_loader(LIMIT, all)?;
        Ok(Some(used).filter(|used| all.is_none_or(|all| *used < all)))
    }

    /// The full name of each metric.
    fn names(&self, metrics: &MetricList<M::Output>) -> Result<IndexMap<MetricId, String>> {
        let split = split_name(&self.split).ok_or_else(|| {
            let reason = format!("{:?} has no letter or digit: name the data, as in \"test\"", self.split);
            Error::config("the name of the data", reason)
        })?;
        let mut table = MetricTable::default();
        let definitions: Vec<_> = metrics.0.iter().map(|metric| metric.definition()).collect();
        for (index, definition) in definitions.iter().enumerate() {
            if definitions[..index].iter().any(|other| other.metric_id == definition.metric_id) {
                let reason = format!("two of them are called {:?}: leave out one", definition.name);
                return Err(Error::config("the metrics of the evaluation", reason));
            }
            table.register(definition, None, true);
        }
        Ok(table.names_in(&split))
    }

    /// One pass over the data. Returns the number of items.
    fn pass(
        &self,
        processor: &mut AsyncProcessorEvaluation<EvaluationProcessor<M::Output>>,
        name: EvaluationName,
        loader: Arc<dyn DataLoader<M::Input>>,
        limit: Option<u64>,
        outcome: &Mutex<Outcome>,
    ) -> Result<u64> {
        // The processor itself reports no error: it notes them in the outcome.
        let failed = |source| Error::evaluation("a metric", source);
        let loader = on_device_of(&self.model, loader);
        processor.process_test(EvaluatorEvent::Start { total_tests: 1 }).map_err(failed)?;
        let limited = limit.zip(LoaderSize::of(&*loader));
        let most = limited.map_or(usize::MAX, |(limit, size)| {
            usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(size.batch_size())
        });
        let start = EvaluatorEvent::StartTest(name.clone(), loader.num_items().min(most));
        processor.process_test(start).map_err(failed)?;
        let mut batches = loader.iter();
        let (mut count, mut items) = (0, 0);
        while limit.is_none_or(|limit| (count as u64) < limit)
            && let Some(batch) = batches.next()
        {
            let batch = batch.map_err(|source| Error::evaluation("the data loader", source))?;
            let progress = batches.progress();
            (count, items) = (count + 1, progress.items_processed);
            let item = EvaluationItem::new(self.model.step(batch), progress, Some(count));
            processor.process_test(EvaluatorEvent::ProcessedItem(name.clone(), item)).map_err(failed)?;
            if outcome.lock().failure.is_some() {
                break;
            }
        }
        if count == 0 {
            let reason = "a mean over nothing would be NaN: see that the data set is not empty, and that drop_last leaves a batch";
            return Err(Error::no_batch(&self.split, reason));
        }
        processor.process_test(EvaluatorEvent::EndTest).map_err(failed)?;
        processor.process_test(EvaluatorEvent::End(None)).map_err(failed)?;
        processor.flush().map_err(failed)?;
        Ok(items as u64)
    }
}

/// The file that was loaded, with its digest: that of the metadata beside it, or where there is none,
/// computed.
pub(super) fn evaluated(checkpoint: &Checkpoint) -> Result<EvaluatedCheckpoint> {
    let path = checkpoint.path().to_path_buf();
    let Metadata { checkpoint_checksum, run_id, start_timestamp, .. } =
        checkpoint.metadata_with_checksum()?;
    Ok(EvaluatedCheckpoint::new(path, checkpoint_checksum, run_id, start_timestamp))
}
