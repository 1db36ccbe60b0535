//! What happens in a run, and what is known when it happens: the input of every saving strategy.

use std::time::Duration;

use indexmap::IndexMap;

/// Something at which a strategy may want a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingEvent<'a> {
    /// An optimizer step is done, and the epoch goes on. (A step that ends an epoch shows as [`TrainingEvent::EpochEnd`],
    /// after validation, so that one state is not saved twice.)
    StepEnd,
    /// A validation is done; the `val_` metrics are new.
    ValidationEnd,
    /// An epoch is done, validation included.
    EpochEnd,
    /// Training was asked to stop before its last epoch, for this reason (a signal's name, what somebody gave to burn's
    /// interrupter); the state is that of the last step done.
    Interrupted(&'a str),
    /// Training failed with this message; the state is that of the last step done.
    Exception(&'a str),
}

/// The state of a run at an event.
#[derive(Debug, Clone)]
pub struct RunProgress<'a> {
    /// The epoch in progress, counted from 0.
    pub epoch: u64,
    /// The number of optimizer steps done.
    pub step: u64,
    /// Time since this process started training.
    pub elapsed: Duration,
    /// The latest value of every numeric metric: the epoch's final value where the epoch is done, else the
    /// average over the epoch so far. At [`TrainingEvent::StepEnd`] it may be a step behind.
    pub metrics: &'a IndexMap<String, f64>,
}
