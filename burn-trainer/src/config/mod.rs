//! The configuration of a run.

mod builders;
mod effective;
mod trainer_config;

pub use burn_ckpt::plumbing::WhenBusy;
pub use trainer_config::{ChangedHparams, FailedSaves, TrainerConfig};
