//! The metrics of a run over its training: `burn-ckpt log` (a line an epoch) and `burn-ckpt csv`
//! (everything).

pub mod csv;
pub mod log;
mod of_history;
mod read;
mod values;
