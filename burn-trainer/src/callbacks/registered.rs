//! The callbacks of a run: they are called one after the other, and what goes wrong in one is reported under
//! its name.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::train::{LearnerModel, SupervisedTraining};
use burn_ckpt::chain;
use burn_ckpt::plumbing::panic_message;
use burn_ckpt::{Checkpoint, Section};

use super::callback::{Callback, Restored};
use super::context::{CallbackContext, RunView};
use super::requests::Requests;
use super::scalars::{Logged, LoggedSplit, ScalarMetric, ScalarsOf};
use crate::error::{CallbackResult, Error, Result};
use crate::process::console::warn;
use crate::state::callback_state::{CallbackState, CallbackStates, section_name};
use crate::state::end_reason::StopRequest;
use crate::state::resume_point::ResumePoint;

/// The callbacks of a run, in the order in which they were given.
pub(crate) struct Callbacks<M: LearnerModel> {
    all: Vec<Registered<M>>,
    pub(crate) requests: Requests<M>,
}

/// A metric that a callback looks at.
pub(crate) struct WatchedMetric {
    /// The callback's name.
    pub(crate) callback: String,
    /// The metric's name, as it was given.
    pub(crate) metric: String,
}

struct Registered<M: LearnerModel> {
    name: String,
    callback: Box<dyn Callback<M>>,
    scalars: ScalarsOf,
    /// What it stored last. `None` while it changes.
    state: Option<CallbackState>,
    /// One that has panicked is called no more. Its last state stands.
    has_panicked: bool,
}

impl<M: LearnerModel> Callbacks<M> {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), requests: Requests::default() }
    }

    pub(crate) fn add(&mut self, callback: Box<dyn Callback<M>>) {
        let (name, scalars) = (callback.name(), ScalarsOf::default());
        self.all.push(Registered { name, callback, scalars, state: None, has_panicked: false });
    }

    /// The sections that a checkpoint can have for them.
    pub(crate) fn section_names(&self) -> Vec<String> {
        self.all.iter().map(|registered| section_name(&registered.name)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The metrics that they look at.
    pub(crate) fn watched_metrics(&self) -> Vec<WatchedMetric> {
        let watched = self.all.iter().flat_map(|Registered { name, callback, .. }| {
            let metrics = callback.watched_metrics().into_iter();
            metrics.map(|metric| WatchedMetric { callback: name.clone(), metric })
        });
        watched.collect()
    }

    /// Checks the names, and registers the metrics that callbacks log.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that is invalid or there twice.
    pub(crate) fn register(&mut self, mut training: SupervisedTraining<M>) -> Result<SupervisedTraining<M>> {
        for (position, registered) in self.all.iter().enumerate() {
            let name = &registered.name;
            if !is_valid_name(name) {
                let reason = "a callback's name has at least one character, and only letters, digits, _ and -: rename it";
                return Err(Error::config(format!("the callback {name:?}"), reason));
            }
            if self.all[..position].iter().any(|other| other.name == *name) {
                let reason = "two callbacks have this name, under which a checkpoint has their state: give one another name \
                              (Ema and ReduceOnPlateau have with_name), or leave it out";
                return Err(Error::config(format!("the callback {name:?}"), reason));
            }
        }
        let mut taken: Vec<(LoggedSplit, String)> = Vec::new();
        for Registered { name, callback, scalars, .. } in &mut self.all {
            for scalar in callback.scalars() {
                let own = (scalar.split, scalar.name.clone());
                if taken.contains(&own) {
                    let reason =
                        format!("the metric {} is logged by another callback, or twice", scalar.name);
                    return Err(Error::config(format!("the callback {name:?}"), reason));
                }
                taken.push(own);
                let logged = Logged::default();
                let metric = ScalarMetric::new(&scalar, logged.clone());
                training = match scalar.split {
                    LoggedSplit::Training => training.metric_train_numeric(metric),
                    LoggedSplit::Validation => training.metric_valid_numeric(metric),
                };
                scalars.0.push((scalar, logged));
            }
        }
        Ok(training)
    }

    /// The metrics of which no callback says whether lower or higher is better, by burn's names.
    pub(crate) fn undirected_scalars(&self) -> Vec<String> {
        let scalars = self.all.iter().flat_map(|registered| &registered.scalars.0);
        scalars.filter(|(scalar, _)| scalar.mode.is_none()).map(|(scalar, _)| scalar.name.clone()).collect()
    }

    /// Puts back the states in the checkpoint that the run resumes from.
    ///
    /// # Errors
    ///
    /// [`Error::Callback`] for a state that a callback does not take.
    pub(crate) fn restore(&mut self, resume: &mut ResumePoint, run: RunView<'_, M>) -> Result<()> {
        let Self { all, requests } = self;
        for registered in all {
            let section = section_name(&registered.name);
            let stored = resume.callbacks.shift_remove(&section);
            let is_stored = stored.is_some();
            let state = stored.and_then(CallbackState::of_section);
            if state.is_none() && is_stored {
                warn(&format!(
                    "{section} of {} is not the state of a callback, as it has no version: {} does not get it",
                    resume.checkpoint.path().display(),
                    registered.name
                ));
            }
            let restored = registered.guarded("restore", |callback, name, scalars| {
                let requests = &mut *requests;
                callback.restore(&mut CallbackContext { run, name, scalars, requests }, state)
            })?;
            if let Some(Restored::FromStart(reason)) = restored {
                warn(&format!("the callback {} starts without its state: {reason}", registered.name));
            }
        }
        self.warn_of_unknown(&resume.checkpoint);
        Ok(())
    }

    /// A state that no callback of this program takes is not in the checkpoints that follow.
    fn warn_of_unknown(&self, checkpoint: &Checkpoint) {
        for section in checkpoint.sections() {
            let Some(name) = section.strip_prefix(Section::USER_PREFIX) else { continue };
            if !self.all.iter().any(|registered| registered.name == name) {
                warn(&format!(
                    "{} has the state of a callback {name}, which this program does not have: later checkpoints are without it",
                    checkpoint.path().display()
                ));
            }
        }
    }

    /// Calls a method of all callbacks, in their order, also after one has failed: each must see the same.
    ///
    /// # Errors
    ///
    /// [`Error::Callback`] or [`Error::Panicked`] of the first that fails. The errors of others are logged.
    pub(crate) fn each(
        &mut self,
        method: &'static str,
        run: RunView<'_, M>,
        mut call: impl FnMut(&mut dyn Callback<M>, &mut CallbackContext<'_, M>) -> CallbackResult,
    ) -> Result<()> {
        let Self { all, requests } = self;
        let mut first = Ok(());
        for registered in all {
            let called = registered.guarded(method, |callback, name, scalars| {
                let requests = &mut *requests;
                call(callback, &mut CallbackContext { run, name, scalars, requests })
            });
            match (called, &first) {
                (Ok(_), _) => {}
                (Err(error), Ok(())) => first = Err(error),
                (Err(error), Err(_)) => log::error!("{}", chain(&error)),
            }
        }
        first
    }

    /// Drops what the callbacks have stored: they change with the step that begins, in place if nothing else
    /// has their tensors.
    pub(crate) fn forget_states(&mut self) {
        for registered in self.all.iter_mut().filter(|registered| !registered.has_panicked) {
            registered.state = None;
        }
    }

    /// What the callbacks store in the checkpoint of the present state.
    ///
    /// # Errors
    ///
    /// As for [`each`](Self::each).
    pub(crate) fn states(&mut self) -> Result<CallbackStates> {
        let mut states = Vec::new();
        for registered in &mut self.all {
            if let Some(state) = registered.guarded(STATE, |callback, _, _| callback.state())? {
                registered.state = state;
            }
            states.extend(registered.state.clone().map(|state| (registered.name.clone(), state)));
        }
        let Requests { rate_scale, stop, .. } = &self.requests;
        Ok(CallbackStates::new(states, *rate_scale, stop.as_ref().and_then(StopRequest::of)))
    }
}

/// The method by which a callback gives its state.
const STATE: &str = "state";

impl<M: LearnerModel> Registered<M> {
    /// `None` of a callback that has panicked before.
    fn guarded<T>(
        &mut self,
        method: &'static str,
        call: impl FnOnce(&mut dyn Callback<M>, &str, &ScalarsOf) -> CallbackResult<T>,
    ) -> Result<Option<T>> {
        if self.has_panicked {
            return Ok(None);
        }
        let Self { name, callback, scalars, state, has_panicked } = self;
        match catch_unwind(AssertUnwindSafe(|| call(&mut **callback, name, scalars))) {
            Ok(called) => called.map(Some).map_err(|source| Error::Callback {
                name: name.clone(),
                method,
                source,
                saved: None,
            }),
            Err(panic) => {
                *has_panicked = true;
                if state.is_none() && method != STATE {
                    // It was dropped for the step. This is the newest that there can be.
                    let asked = catch_unwind(AssertUnwindSafe(|| callback.state()));
                    *state = asked.ok().and_then(CallbackResult::ok).flatten();
                }
                let message = format!("the callback {name} panicked in {method}: {}", panic_message(&*panic));
                Err(Error::Panicked { message, saved: None })
            }
        }
    }
}

fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
