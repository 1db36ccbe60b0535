//! What concerns the optimizer of a learner, which burn keeps to itself.

mod burn_optimizers;
pub(crate) mod state_names;
mod streamed;

pub use burn_optimizers::InitStreamed;
pub use streamed::{StateParts, StateTensors, Streamed};
pub(crate) use streamed::{advise, collect};
