//! `Trainer::fit` and `Trainer::fit_with`: from an open run, burn's training and a learner to the result.

use std::sync::Arc;

use burn::tensor::Device;
use burn::train::{Learner, LearnerModel, SupervisedTraining, TrainingStrategy};

use super::report_page::RunPage;
use super::{Trainer, fast_dev_run};
use crate::burn_loops::epoch_end_saves::EpochEndSaves;
use crate::burn_loops::users_loop::{StartError, UsersLoop};
use crate::callbacks::built_in::early_stopping::EarlyStoppingCallback;
use crate::config::BatchLimit;
use crate::dataloader::LoaderSize;
use crate::error::{Error, Result};
use crate::learner_state::{recomputation, restore};
use crate::process::console::warn;
use crate::process::environment_devices::EnvironmentDevices;
use crate::process::start_device::name_software;
use crate::result::FitResult;
use crate::run::checkpoint_size::{self, SavedFiles};
use crate::run::choose_strategies::warn_if_nothing_is_saved;
use crate::run::launch::Launched;
use crate::run::prepare::{AlsoRestored, LoopParts, RunSetup, prepare};
use crate::state::resume_point::ResumePoint;
use crate::trackers::add_named;
use crate::training_loop::abandonable_loop::{AbandonableLoop, DeviceLossGuard};
use crate::training_loop::burn_settings::RunEpochs;
use crate::training_loop::fit_loop::{FitLoop, FitPlan};
use crate::training_loop::loop_end::Outcome;
use crate::training_loop::parts::device_monitor::DeviceMonitor;
use crate::training_loop::parts::loop_rules::LoopRules;
use crate::training_loop::parts::multi_device::{self, TrainingDevices};

impl<M: LearnerModel> Trainer<M> {
    /// Checks that there is data to train on and that a checkpoint can be written and read, and warns if
    /// nothing will be saved.
    fn check_start(&self, learner: &Learner<M>) -> Result<()> {
        let RunSetup { config, run, data, saver, .. } = &self.setup;
        if let Some(reason) = data.train.size().and_then(LoaderSize::without_batches) {
            return Err(Error::no_batch("training", reason));
        }
        let unused = config.unused_validation_settings();
        if !unused.is_empty() {
            let unused = unused.join(" and ");
            warn(&format!("limit_valid_batches leaves validation out, so that {unused} does nothing"));
        }
        warn_if_nothing_is_saved(config, !saver.strategies.is_empty());
        if !config.writes() {
            return Ok(());
        }
        let saved = SavedFiles::of(config, &saver.strategies, &run.layout);
        checkpoint_size::check(learner, &saver.limits, &saved)
    }

    /// Whether the model computes activations in its backward pass again.
    fn recomputes(&self, learner: &Learner<M>) -> Result<bool> {
        recomputation::recomputes(&learner.model(), self.setup.config.gradient_checkpointing)
    }

    /// Trains.
    ///
    /// The number of epochs, the training strategy, gradient checkpointing and burn's metric files in the
    /// run's directory are the trainer's; everything else that was set on `training` stays. burn's own
    /// checkpointers have no part in it, which a warning says.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a model whose device computes no gradients (`device.autodiff()` gives one that
    /// does), or does no gradient checkpointing where that is set, and for a `num_epochs` of `training` that
    /// is not the configuration's `max_epochs`, or a `checkpoint`, in place of which its `ckpt_path` says
    /// what to resume; [`Error::Panicked`] and [`Error::Training`] with what stopped training and where the
    /// state before it was saved; [`Error::UnknownMetric`] or [`Error::Checkpoint`] before the first step for
    /// names that cannot be used; [`Error::NoBatch`] for data without a batch, before the first step where
    /// the loader is a [`ResumableDataLoader`](crate::ResumableDataLoader); [`Error::MetricNotLogged`] at the
    /// first batch of the split that does not log a metric; [`Error::SaveFailed`] where the configuration
    /// asks for it; [`Error::Callback`] with the error of a callback; [`Error::DeviceLost`] when a device
    /// does not answer; [`Error::Unusable`] for a checkpoint that this learner cannot resume from. A call
    /// that fails before the first step removes the directories that [`Trainer::new`] has created, if they
    /// are empty.
    pub fn fit(mut self, training: SupervisedTraining<M>, learner: Learner<M>) -> Result<FitResult<M>> {
        let config = &self.setup.config;
        let (temporary, says) = (self.temporary.take(), config.writes() && config.progress.is_on());
        fast_dev_run::end(temporary, says, self.fit_run(training, learner))
    }

    fn fit_run(mut self, training: SupervisedTraining<M>, learner: Learner<M>) -> Result<FitResult<M>> {
        let _entered = self.setup.run.output.enter();
        let devices = self.devices.of_run(&learner.model())?;
        if self.setup.config.fast_dev_run {
            // Each of them is tried.
            self.setup.config.limit_train_batches = Some(BatchLimit::Count(devices.len() as u64));
        }
        let recomputes = self.recomputes(&learner)?;
        self.check_start(&learner)?;
        let RunSetup { config, data, .. } = &self.setup;
        data.define_sets(&self.validation_sets, config.writes())?;
        let rules = LoopRules::of(config, data, &mut self.validation_sets)?;
        self.stop.attach(training.interrupter());
        name_software(&devices);
        let guard = self.device_loss_guard(&devices)?;
        let devices = TrainingDevices::new(&devices, self.devices.optim, recomputes);
        self.fit_guarded(training, learner, devices, rules, &guard).map_err(|error| guard.with_cause(error))
    }

    fn fit_guarded(
        self,
        training: SupervisedTraining<M>,
        mut learner: Learner<M>,
        devices: TrainingDevices,
        rules: LoopRules,
        guard: &DeviceLossGuard,
    ) -> Result<FitResult<M>> {
        let Self { mut setup, validation_sets, mut callbacks, stop, speed, .. } = self;
        if let Some(settings) = setup.config.early_stopping.clone() {
            // After those of the program, which may log its metric.
            callbacks.add(Box::new(EarlyStoppingCallback::new(settings)));
        }
        // Before the trackers: what a signal leaves of the time is the checkpoints'.
        let own: Vec<_> = setup.saver.strategies.iter().map(|strategy| strategy.output().directory).collect();
        let mirror = setup.run.mirror.add_callback(&setup.config, &own, stop.signals.view(), &mut callbacks);
        add_named(&setup.config, &mut callbacks)?;
        let page = RunPage::of_run(&setup.config, setup.run.layout.run_dir(), &mut callbacks);
        let training = callbacks.register(training)?;
        setup.saver.watched = callbacks.watched_metrics();
        let data = setup.data.lengths();
        let mut info = setup.run_info()?;
        let also = AlsoRestored { callbacks: callbacks.section_names(), records: false };
        let prepare = move || prepare(setup, &also, &mut learner).map(|prepared| (prepared, learner));
        let ((mut prepared, parts), learner) = guard.run(&training.interrupter(), prepare)??;
        let LoopParts { metric_logger, saves, environment, .. } = parts;
        prepared.complete(&mut info);
        if !callbacks.is_empty() {
            prepared.metrics.log.collect();
        }
        prepared.metrics.table.lock().set_undirected(callbacks.undirected_scalars());
        let training = prepared.configure(training, metric_logger, &self.logger_slot);
        let epochs = RunEpochs::new(&prepared.config, prepared.completed());
        let plan = FitPlan {
            rules,
            validation_sets,
            monitor: DeviceMonitor::new(&devices, guard.watch(), environment),
            devices,
            data,
            metrics: prepared.metrics.clone(),
            saves,
            resume: prepared.resume.take(),
            callbacks,
            info,
            stop: stop.for_loop(),
            speed,
        };
        let fit_loop = Arc::new(FitLoop::new(plan));
        let guarded = AbandonableLoop::new(Arc::clone(&fit_loop), guard.clone(), epochs);
        let training = training.with_training_strategy(TrainingStrategy::Custom(Arc::new(guarded)));
        let end = |_: &Launched<M>| fit_loop.take_outcome();
        let result = prepared.launch(training, learner, stop.signals, end, |ended| page.end(ended))?;
        Ok(FitResult { mirror: mirror.result(), ..result })
    }

    /// Trains with a loop of burn's ([`ddp`](crate::burn_loops::ddp()), `ExecutionStrategy::multi`, ..) or
    /// one of your own, and saves at the ends of epochs.
    ///
    /// Files, strategies, metadata, links and resuming are those of [`Trainer::fit`], and a run can change
    /// from the one to the other at an epoch's end. What the trainer does not see in another loop is
    /// different:
    ///
    /// - Strategies decide after each epoch's validation, and see
    ///   [`TrainingEvent::ValidationEnd`](crate::strategy::TrainingEvent::ValidationEnd),
    ///   [`TrainingEvent::EpochEnd`](crate::strategy::TrainingEvent::EpochEnd) and, after the last epoch,
    ///   [`TrainingEvent::TrainingEnd`](crate::strategy::TrainingEvent::TrainingEnd): not where early
    ///   stopping ends the run before that, which burn decides after them. `last` saves at the end of each
    ///   epoch. When training fails or is stopped, nothing is saved: the last epoch that was saved stands.
    /// - `global_step` counts rounds of batches, in each of which every device takes one. Those are the
    ///   optimizer's steps unless gradients are accumulated: burn does not tell over how many rounds. So a
    ///   checkpoint does not have the size of a step for
    ///   [`keep_effective_batch`](crate::TrainerConfig::keep_effective_batch).
    /// - After a resume the data comes in the order of its epoch, if `training` is from
    ///   [`Trainer::training`]. Early stopping starts again, so a run that it has ended continues. Random
    ///   numbers of the devices (dropout) differ from those of a run that was never stopped.
    /// - A metric logger of your own that panics aborts the process after its message was printed: burn's
    ///   event store panics in a destructor. [`Trainer::fit`] reports it.
    /// - A name that no metric has is an error after the first batch. A metric that is not logged is an error
    ///   after the first epoch.
    /// - Settings that have no effect are named in a warning: `last.every_epoch`, `last.every_n_steps` and
    ///   `last.save_on_time_interval`, `on_exception`, and `gradient_checkpointing` with a strategy of your
    ///   own. The number of epochs is the configuration's. With a strategy of your own another `num_epochs`
    ///   of `training` is an error before the first step. A loop of burn's does not show it.
    ///
    /// burn's checkpointers on `training` are replaced. A `SupervisedLearningStrategy` of your own has to
    /// call the checkpointer among its components after an epoch's validation, with burn's number of the
    /// epoch and after a flush of the event processor, as burn's strategies do.
    ///
    /// # Errors
    ///
    /// Those of [`Trainer::fit`], and [`Error::MidEpoch`] for a checkpoint from within an epoch, unless
    /// `ckpt_path` is `auto`, which takes the newest one of an epoch's end. [`Error::Config`] also for what
    /// this loop does not have: callbacks, limits, and what [`Trainer::devices`] and
    /// [`Trainer::optimizer_placement`] say, as the strategy does that.
    pub fn fit_with(
        self,
        training: SupervisedTraining<M>,
        learner: Learner<M>,
        strategy: impl Into<TrainingStrategy<M>>,
    ) -> Result<FitResult<M>> {
        let strategy: TrainingStrategy<M> = strategy.into();
        self.check_for_other_loop()?;
        let _entered = self.setup.run.output.enter();
        self.recomputes(&learner)?;
        self.check_start(&learner)?;
        self.warn_of_settings_without_effect(matches!(strategy, TrainingStrategy::Custom(_)));
        self.stop.attach(training.interrupter());
        let devices = multi_device::of_strategy(&strategy, &learner);
        name_software(&devices);
        let guard = self.device_loss_guard(&devices)?;
        self.fit_at_epochs(training, learner, strategy, devices).map_err(|error| guard.with_cause(error))
    }

    fn fit_at_epochs(
        self,
        training: SupervisedTraining<M>,
        mut learner: Learner<M>,
        strategy: TrainingStrategy<M>,
        devices: Vec<Device>,
    ) -> Result<FitResult<M>> {
        let Self { mut setup, stop, .. } = self;
        setup.config.save_last_of_each_epoch();
        setup.run.resume_at_an_epoch(&setup.config)?;
        let data = setup.data.clone();
        let also = AlsoRestored { callbacks: Vec::new(), records: true };
        let (prepared, parts) = prepare(setup, &also, &mut learner)?;
        let LoopParts { mut metric_logger, saves, environment, records } = parts;
        let records = match (&prepared.resume, records) {
            (Some(resume), Some(records)) => {
                check_without_callbacks(resume)?;
                Some(restore::records_for_burn(&mut learner, resume, records)?)
            }
            _ => None,
        };
        for split in [&data.train.tracker, &data.valid.tracker] {
            split.start_at(prepared.completed());
        }
        let saves = EpochEndSaves::new(&prepared, training.interrupter(), saves, &data);
        prepared.metrics.log.count_steps_by(saves.step_of_batch(devices.len()));
        stop.for_loop().set_training(Arc::new(saves.clone()));
        let open = saves.opener();
        let mut environment = EnvironmentDevices::new(environment, devices);
        metric_logger.at_first_update(move || {
            // After the first batch the metrics' names are known, and the devices are in use.
            open();
            environment.report();
        });
        let training = prepared.configure(training, metric_logger, &self.logger_slot);
        let start_error = StartError::default();
        let (training, strategy) = match strategy {
            TrainingStrategy::Custom(inner) => {
                let epochs = RunEpochs::new(&prepared.config, prepared.completed());
                let checked = UsersLoop::new(inner, epochs, start_error.clone());
                (training, TrainingStrategy::Custom(Arc::new(checked)))
            }
            burns => (training.num_epochs(prepared.config.max_epochs), burns),
        };
        let mut training = saves.register(prepared.set_first_epoch(training), records);
        if prepared.config.gradient_checkpointing {
            training = training.gradient_checkpointing();
        }
        let training = training.with_training_strategy(strategy);
        let end = |launched: &Launched<M>| {
            let failed = launched.as_ref().map_or(true, |result| result.error.is_some());
            let outcome = saves.end(failed);
            Outcome { error: start_error.take().or(outcome.error), ..outcome }
        };
        prepared.launch(training, learner, stop.signals, end, |_| {})
    }

    /// Watches the devices of other machines among these.
    fn device_loss_guard(&self, devices: &[Device]) -> Result<DeviceLossGuard> {
        let RunSetup { config, saver, .. } = &self.setup;
        DeviceLossGuard::new(devices, &saver.activity, config)
    }
}

/// Rejects a state that only callbacks can continue.
fn check_without_callbacks(resume: &ResumePoint) -> Result<()> {
    let scale = resume.state.learning_rate_scale;
    if scale == 1.0 {
        return Ok(());
    }
    let reason = format!(
        "the run has a learning rate that a callback has scaled by {scale}, and fit_with calls no callbacks: continue it with \
         Trainer::fit"
    );
    Err(Error::config("ckpt_path", reason))
}
