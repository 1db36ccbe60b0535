//! Optimizers whose state a save reads tensor by tensor: [`InitStreamed`] makes one of burn's, [`Streamed`]
//! wraps any other.
//!
//! burn keeps the state of a learner's optimizer private, and copies all of it for a record. A streamed
//! optimizer is saved without those copies.

// `streamed` is the way to the tensors, `burn_optimizers` applies it to burn's optimizers, and `state_names`
// replaces random parameter ids by paths.

mod burn_optimizers;
pub(crate) mod state_names;
mod streamed;

pub use burn_optimizers::InitStreamed;
pub use streamed::{StateParts, StateTensors, Streamed};
pub(crate) use streamed::{advise_streaming, collect_streamed, restore_streamed_on, states_of_step};
