//! Strategies, metrics, loggers, renderers, optimizers and schedulers of a user's own: what they are shown,
//! and what becomes of their panics and states.

mod burns_threads;
mod learner_states;
mod strategies;

use std::path::PathBuf;

use burn_trainer::{Error, FitResult, Result};
use system_tests::models::small::Model;

/// The message and the saved checkpoint of a panic.
fn panicked(result: Result<FitResult<Model>>) -> (String, Option<PathBuf>) {
    match result.map(|_| ()) {
        Err(Error::Panicked { message, saved }) => (message, saved),
        other => panic!("{other:?}"),
    }
}
