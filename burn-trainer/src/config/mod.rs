//! The configuration of a run.

mod batch_limit;
mod builders;
mod check;
mod early_stopping;
mod effective;
mod fast_dev_run;
mod init_from;
mod trainer_config;

pub use batch_limit::BatchLimit;
#[doc(inline)]
pub use burn_ckpt::plumbing::{LockMode, WhenBusy};
pub(crate) use check::check_path;
pub use early_stopping::EarlyStopping;
pub use init_from::InitFrom;
pub use trainer_config::{ChangedHparams, EndWith, FailedSaves, TrainerConfig};
