//! Code of a program's own at the events of a run, with a state that resumes.
//!
//! A callback is given to [`Trainer::callback`](crate::Trainer::callback). Several are called in the order in
//! which they were given.
//!
//! | to | see |
//! |---|---|
//! | write one, and the order of its methods in a run | [`Callback`] |
//! | look at the run, log a metric, end the run, scale the learning rate | [`CallbackContext`] |
//! | read and change the gradients of an optimizer step | [`Gradients`] |
//! | store a state in every checkpoint | [`CallbackState`] |
//! | end the run when a metric does not improve | [`EarlyStopping`], in the configuration |
//! | limit gradients, and find those that are not finite | [`GradientGuard`] |
//! | average the parameters over the steps | [`Ema`] |
//! | lower the learning rate when a metric does not improve | [`ReduceOnPlateau`] |

// `registered` calls all callbacks, with their errors and panics under their names. `requests` is what they
// ask of the loop.

mod boxed;
pub(crate) mod built_in;
mod callback;
pub(crate) mod context;
mod gradients;
pub(crate) mod missing_validation;
pub(crate) mod registered;
pub(crate) mod requests;
pub(crate) mod scalars;

pub use built_in::batch_loss::{BatchLoss, LoggedLoss, LossBy, NoLoss};
pub use built_in::ema::Ema;
pub use built_in::gradient_guard::{GradientGuard, NonFinite};
pub use built_in::plateau::ReduceOnPlateau;
pub use callback::{Callback, Restored};
pub use context::CallbackContext;
pub use gradients::{GradientMapper, Gradients};
pub use scalars::{LoggedScalar, ScalarValue};

pub use crate::config::EarlyStopping;
pub use crate::error::CallbackResult;
pub use crate::saving::checkpoint_events::CheckpointInfo;
pub use crate::state::callback_state::CallbackState;
pub use crate::state::run_info::{RunEnd, RunInfo};
