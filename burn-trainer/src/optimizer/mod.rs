//! What concerns the optimizer of a learner, which burn keeps to itself.

mod burns;
pub(crate) mod names;
pub(crate) mod probe;
mod streamed;

pub use burns::InitStreamed;
pub use streamed::{StateParts, StateTensors, Streamed};
pub(crate) use streamed::{advise, collect};
