//! The optimizer's state: how a save gets its tensors one by one, and under which names a checkpoint has them.
//!
//! burn keeps the state of a learner's optimizer private. `streamed` is the way to its tensors, `burn_optimizers` applies
//! it to burn's optimizers, and `state_names` replaces random parameter ids by paths.

// Uses no other folder. `learner_state` and `burn_loops` use it.

mod burn_optimizers;
pub(crate) mod state_names;
mod streamed;

pub use burn_optimizers::InitStreamed;
pub use streamed::{StateParts, StateTensors, Streamed};
pub(crate) use streamed::{advise_streaming, collect_streamed, states_of_step};
