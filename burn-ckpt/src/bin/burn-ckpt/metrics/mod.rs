//! The metrics of a run over its training: `burn-ckpt log` (a line an epoch) and `burn-ckpt csv`
//! (everything), and metrics as JSON.

pub mod csv;
mod epoch_blocks;
mod history_values;
pub mod json;
pub mod log;
pub mod names;
pub mod read;
pub mod values;
