//! Makes the parts of training that `Trainer::fit` and `Trainer::fit_with` have in common: puts the state
//! that the run resumes from into the learner, the metrics and the history, and prepares the saver, which
//! opens once the metrics' names are known. `launch` follows.

use std::sync::{Arc, OnceLock};

use burn::train::{Learner, LearnerModel};
use burn_ckpt::metadata::NonFiniteTensors;
use burn_ckpt::plumbing::{
    Limits, RunDescription, StagingOwner, WriterActivity, git_commit, non_finite_tensors,
};
use burn_environment::EnvironmentProbe;
use serde_json::Value;

use super::choose_strategies::{ChosenStrategies, check_read_at_end, choose_strategies};
use super::launch::PreparedRun;
use super::open::OpenRun;
use super::starts::{self, ThisStart};
use super::{changed_settings, find_checkpoint, start_lines};
use crate::callbacks::registered::WatchedMetric;
use crate::config::{InitFrom, TrainerConfig};
use crate::error::{Error, Result};
use crate::learner_state::restore::{LearnerRecords, NotRestored, read_records, restore};
use crate::learner_state::warm_start;
use crate::metrics::{
    ResumedLog, RunMetricLogger, RunMetrics, add_earlier_epochs, burn_epoch, check_file_names,
};
use crate::model_summary::model_summary;
use crate::process::console::warn;
use crate::process::environment_devices::described_by;
use crate::saving::existing_checkpoints::ExistingCheckpoints;
use crate::saving::run_saves::{OpenSaver, OpenedSaver, RunSaves};
use crate::saving::saver::{Saver, SaverSettings};
use crate::state::resume_point::ResumePoint;
use crate::state::run_info::RunInfo;
use crate::state::training_data::TrainingData;
use crate::strategy::{Strategy, of_fast_dev_run};
use crate::validation_sets::is_of_set;

/// An open run, before it is prepared.
pub(crate) struct RunSetup {
    pub(crate) config: TrainerConfig,
    pub(crate) hparams: Value,
    pub(crate) run: OpenRun,
    pub(crate) environment: Arc<EnvironmentProbe>,
    pub(crate) data: TrainingData,
    pub(crate) saver: SaverSetup,
}

impl RunSetup {
    /// What the run is, for its callbacks, before it is known where it resumes.
    pub(crate) fn run_info(&self) -> Result<RunInfo> {
        let Self { config, hparams, run, environment, .. } = self;
        Ok(RunInfo {
            run_id: run.layout.run_id().to_owned(),
            run_dir: run.layout.run_dir().to_path_buf(),
            name: config.name.clone(),
            project: config.project.clone(),
            tags: config.tags.clone(),
            notes: config.notes.clone(),
            hparams: hparams.clone(),
            trainer_config: described_config(config)?,
            start: run.start,
            resumed_from: None,
            writes: config.writes(),
            is_fast_dev_run: config.fast_dev_run,
            environment: Arc::clone(environment),
            counted: None,
            written_again: None,
        })
    }
}

/// What the saver has beside the configuration.
pub(crate) struct SaverSetup {
    /// The program's own strategies.
    pub(crate) strategies: Vec<Box<dyn Strategy>>,
    /// The metrics that callbacks look at, with the callbacks' names.
    pub(crate) watched: Vec<WatchedMetric>,
    /// What a checkpoint, and each of its files, may not exceed.
    pub(crate) limits: Limits,
    /// What the writer is doing. Set when the saver opens.
    pub(crate) activity: Arc<OnceLock<WriterActivity>>,
}

impl SaverSetup {
    /// Without strategies of the program.
    pub(crate) fn new(config: &TrainerConfig) -> Self {
        let limits = match config.max_file_bytes {
            None => Limits::READER,
            Some(bytes) => Limits::READER.with_max_file_bytes(bytes),
        };
        Self { strategies: Vec::new(), watched: Vec::new(), limits, activity: Arc::default() }
    }
}

/// What is read of a checkpoint beside the learner's state.
pub(crate) struct AlsoRestored {
    /// The sections of the program's callbacks, which are restored later.
    pub(crate) callbacks: Vec<String>,
    /// Whether the loop is burn's or the user's: it begins at an epoch, and loads the learner's state itself,
    /// in burn's records.
    pub(crate) records: bool,
}

/// The parts of a run that burn's loop and the loggers own.
pub(crate) struct LoopParts {
    pub(crate) metric_logger: RunMetricLogger,
    pub(crate) saves: RunSaves,
    /// `None` in a process that saves nothing.
    pub(crate) environment: Option<Arc<EnvironmentProbe>>,
    /// For another loop than the trainer's: the state that the run resumes from.
    pub(crate) records: Option<LearnerRecords>,
}

/// Prepares a run, and restores the learner's state where the run resumes.
///
/// # Errors
///
/// [`Error::Config`] for a model whose device computes no gradients, and those of a checkpoint that does not
/// fit the learner.
pub(crate) fn prepare<M: LearnerModel>(
    setup: RunSetup,
    also: &AlsoRestored,
    learner: &mut Learner<M>,
) -> Result<(PreparedRun, LoopParts)> {
    let RunSetup { mut config, hparams, mut run, environment, data, mut saver } = setup;
    if config.fast_dev_run {
        saver.strategies = of_fast_dev_run(saver.strategies);
    }
    // The process of rank 0 saves for all.
    let writes = config.writes();
    config.checkpoint_saving &= writes;
    check_gradients(learner)?;
    let metrics = RunMetrics::with_sets(data.sets.clone());
    let mut metric_logger = RunMetricLogger::new(metrics.clone());
    if writes {
        metric_logger = metric_logger.with_files(run.layout.run_dir(), config.metric_files);
    }
    let mut existing = ExistingCheckpoints::default();
    let non_finite_as_built = if writes { non_finite_tensors(&learner.model().valid())? } else { Vec::new() };
    let mut resume = run.resume.take();
    let mut records = None;
    if writes && resume.is_none() {
        metrics.log.begin(run.layout.run_dir(), run.layout.run_id());
        start_lines::starting(&config, &run.layout, None, run.resumes_itself);
    }
    if let Some(init_from) = &config.init_from {
        begin_with(init_from, learner, resume.as_ref(), writes.then_some(&*non_finite_as_built))?;
    }
    if let Some(resume) = &mut resume {
        let announce = |run: &OpenRun, resume: &ResumePoint| match writes {
            true => announce(&config, &hparams, run, resume, &data),
            false => Ok(()),
        };
        records = restore_newest(learner, &mut run, resume, &config, also, announce)?;
        let ResumePoint { checkpoint, state, history, .. } = &mut *resume;
        let (mark, run_dir) = (state.metrics_log.as_ref(), run.layout.run_dir());
        add_earlier_epochs(history, mark, checkpoint.path(), run_dir, writes);
        if writes {
            resume_log(&metrics, &run, resume);
        }
        let epoch = restore_metrics(&metrics, resume);
        // A checkpoint of another run is only resumed in a directory without checkpoints.
        metric_logger = metric_logger.resumed_in(epoch, !run.present.is_empty());
    }
    metrics.log.note_start(run.opened);
    if writes && !run.present.is_empty() {
        let complete = saver.strategies.is_empty();
        existing = ExistingCheckpoints::read(&config, &run.layout, &run.present, resume.as_ref(), complete)?;
    }
    let mut description = run_description(&config, hparams, &run, resume.as_ref(), &environment)?;
    description.limits = saver.limits;
    let log = metrics.log.clone();
    description.make_durable = Box::new(move || log.make_durable());
    description.model = described_model(learner, &config, writes);
    if writes {
        description.non_finite_at_start = non_finite_at_start(resume.as_ref(), non_finite_as_built);
    }
    let gone = resume.as_ref().map_or_else(Vec::new, |resume| changed_settings::sets_gone(resume, &data));
    let open_saver = saver_opener(&config, saver, &run, existing, description, gone);
    let saves = RunSaves::new(open_saver, &config, data.valid.size());
    let environment = config.checkpoint_saving.then_some(environment);
    let prepared = PreparedRun::new(config, metrics, resume, run, writes);
    Ok((prepared, LoopParts { metric_logger, saves, environment, records }))
}

/// Says what the model consists of, and gives what the metadata says of it.
fn described_model<M: LearnerModel>(learner: &Learner<M>, config: &TrainerConfig, writes: bool) -> Value {
    let summary = model_summary(&learner.model());
    if writes {
        start_lines::model(&summary, config.model_summary_depth);
    }
    summary.kept(config.model_summary_depth)
}

/// Gives a new run the weights of `init_from`. Says which where `as_built` has the names of the tensors that
/// were not finite before, and that they are left out where the run begins with a whole state.
fn begin_with<M: LearnerModel>(
    init_from: &InitFrom,
    learner: &mut Learner<M>,
    resume: Option<&ResumePoint>,
    as_built: Option<&[String]>,
) -> Result<()> {
    let Some(resume) = resume else { return warm_start::load(learner, init_from, as_built) };
    if resume.is_of_another_run && as_built.is_some() {
        let path = resume.checkpoint.path().display();
        warn(&format!("init_from is left out: the run begins with the whole state of {path} (ckpt_path)"));
    }
    Ok(())
}

/// Says from where the run begins, and what has changed since.
fn announce(
    config: &TrainerConfig,
    hparams: &Value,
    run: &OpenRun,
    resume: &ResumePoint,
    data: &TrainingData,
) -> Result<()> {
    start_lines::starting(config, &run.layout, Some(resume), run.resumes_itself);
    if run.resumes_itself {
        start_lines::newer_checkpoints(config, &run.present, resume);
    }
    changed_settings::report(resume, config, hparams, data)
}

/// Restores the learner's state. With `auto`, a checkpoint whose file proves to be damaged only now is passed
/// over as one that was found to be damaged when it was opened: `resume` is the one that was restored.
fn restore_newest<M: LearnerModel>(
    learner: &mut Learner<M>,
    run: &mut OpenRun,
    resume: &mut ResumePoint,
    config: &TrainerConfig,
    also: &AlsoRestored,
    announce: impl Fn(&OpenRun, &ResumePoint) -> Result<()>,
) -> Result<Option<LearnerRecords>> {
    let mut skipped = Vec::new();
    loop {
        announce(run, resume)?;
        let restored = restore(learner, resume, &also.callbacks)
            .and_then(|()| also.records.then(|| read_records(resume)).transpose());
        match restored {
            Err(NotRestored::File(error)) if config.ckpt_path.as_deref() == Some("auto") => {
                let damaged = resume.checkpoint.path().to_path_buf();
                skipped.push(find_checkpoint::skip_for(&damaged, &error));
                *resume = run.resume_before(&damaged, also.records, &mut skipped)?;
            }
            restored => return Ok(restored?),
        }
    }
}

/// burn would panic in the first backward pass.
fn check_gradients<M: LearnerModel>(learner: &Learner<M>) -> Result<()> {
    if learner.model().devices().first().is_some_and(|device| !device.is_autodiff()) {
        let reason = "it computes no gradients: make the model on device.autodiff()";
        return Err(Error::config("the model's device", reason));
    }
    Ok(())
}

/// The model's tensors that have values that are not finite before it is trained, such as a mask: they say
/// nothing of the training. Those of the model as the program builds it, as the weights that a run begins
/// with (`init_from`) can come from a training that has failed.
fn non_finite_at_start(resume: Option<&ResumePoint>, as_built: Vec<String>) -> Vec<String> {
    let known = resume.and_then(|resume| resume.metadata.non_finite.as_ref());
    known.map_or(as_built, NonFiniteTensors::names_at_start)
}

/// Continues the run's log of metrics.
fn resume_log(metrics: &RunMetrics, run: &OpenRun, resume: &ResumePoint) {
    let ResumePoint { state, history, .. } = resume;
    let resumed = ResumedLog {
        mark: state.metrics_log.as_ref(),
        history,
        position: state.position.in_log(),
        batches_per_step: state.batches_per_step.unwrap_or(1),
    };
    metrics.log.resume(run.layout.run_dir(), run.layout.run_id(), &resumed, &metrics.table);
}

/// Restores the values and the history. Returns burn's number of the epoch in which the run resumes.
fn restore_metrics(metrics: &RunMetrics, resume: &mut ResumePoint) -> usize {
    let position = resume.state.position.next();
    metrics.table.lock().restore(resume.state.metrics.clone(), position.trained);
    let epoch = burn_epoch(position.epoch);
    metrics.history.restore(std::mem::take(&mut resume.history), epoch, position.logged());
    epoch
}

/// The configuration as the metadata have it.
fn described_config(config: &TrainerConfig) -> Result<Value> {
    serde_json::to_value(config.spelled_out())
        .map_err(|error| Error::config("the trainer's configuration", error.to_string()))
}

/// What the metadata of every checkpoint says about the run.
fn run_description(
    config: &TrainerConfig,
    hparams: Value,
    run: &OpenRun,
    resume: Option<&ResumePoint>,
    environment: &Arc<EnvironmentProbe>,
) -> Result<RunDescription> {
    let trainer_config = described_config(config)?;
    let this = ThisStart {
        timestamp: run.opened,
        run_id: run.layout.run_id(),
        resumed_from: resume.map(|resume| start_lines::shown(resume.checkpoint.path(), &run.layout)),
        trainer_config: &trainer_config,
        hparams: &hparams,
    };
    let starts = starts::all(this, resume, run);
    let commit_before = resume.and_then(|resume| git_commit(&resume.metadata.environment));
    let environment = described_by(Arc::clone(environment), commit_before);
    Ok(RunDescription {
        name: config.name.clone(),
        project: config.project.clone(),
        trainer_config,
        hparams,
        // A process that does not write may be the first to come, before there is a directory.
        staging_owner: if config.writes() { run.layout.staging_owner()? } else { StagingOwner::default() },
        starts,
        environment,
        ..RunDescription::new(run.layout.run_id(), run.start)
    })
}

/// The function that makes the saver once the metrics' names are known.
fn saver_opener(
    config: &TrainerConfig,
    SaverSetup { strategies: own, watched, activity, .. }: SaverSetup,
    run: &OpenRun,
    existing: ExistingCheckpoints,
    description: RunDescription,
    sets_gone: Vec<String>,
) -> OpenSaver {
    let (config, layout) = (config.clone(), run.layout.clone());
    let settings = SaverSettings { when_busy: config.when_busy, max_waiting: config.max_waiting_saves };
    Box::new(move |metrics| {
        let mut table = metrics.lock();
        if config.metric_files {
            check_file_names(&table.burns_names(), layout.run_dir())?;
        }
        let dropped = table.drop_unregistered().into_iter();
        // Of a validation set that is gone, all were said with one line.
        for name in dropped.filter(|name| !sets_gone.iter().any(|set| is_of_set(name, set))) {
            warn(&format!(
                "the checkpoint has a value of the metric {name}, which this program does not register: later checkpoints are without it"
            ));
        }
        let chosen = choose_strategies(&config, own, &watched, &table)?;
        let names = table.names();
        let best_metric = config.best_metric(|name| Some(table.find(name)?.0));
        drop(table);
        let ChosenStrategies { strategies, needed_metrics } = chosen;
        if let Some(wanted) = config.read_at_end.as_ref().filter(|_| config.writes()) {
            check_read_at_end(wanted, best_metric.as_deref(), &strategies, &layout)?;
        }
        let saver = Saver::open(strategies, &names, &layout, existing, description, settings)?;
        // It is set once, since this function is called once.
        let _ = activity.set(saver.activity());
        Ok(OpenedSaver { saver, needed_metrics })
    })
}
