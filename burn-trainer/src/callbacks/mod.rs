//! Code of a program's own at the events of a run, with a state that resumes.
//!
//! `training_loop` calls the callbacks, in the order in which they were given to [`Trainer::callback`](crate::Trainer::callback).
//!
//! | file | has |
//! |---|---|
//! | `callback` | the trait, and the order of its methods in a run |
//! | `checkpoints` | what became of checkpoints |
//! | `context` | what a callback can see and do |
//! | `gradients` | the gradients of an optimizer step, to read and change |
//! | `state` | what a callback stores in every checkpoint |
//! | `scalars` | the metrics that a callback logs |
//! | `built_in` | callbacks that are ready to use |
//! | `requests` | what callbacks ask of the loop |
//! | `registered` | calling all of them, with their errors and panics under their names |

pub(crate) mod built_in;
mod callback;
pub(crate) mod checkpoints;
pub(crate) mod context;
mod gradients;
pub(crate) mod registered;
pub(crate) mod requests;
mod result;
pub(crate) mod scalars;
mod state;

pub use built_in::early_stopping::EarlyStopping;
pub use built_in::ema::Ema;
pub use built_in::gradient_guard::{GradientGuard, NonFinite};
pub use built_in::plateau::ReduceOnPlateau;
pub use callback::{Callback, Restored};
pub use checkpoints::CheckpointSaved;
pub use context::CallbackContext;
pub use gradients::{GradientMapper, Gradients};
pub use result::CallbackResult;
pub use scalars::{LoggedScalar, ScalarValue};
pub use state::CallbackState;
