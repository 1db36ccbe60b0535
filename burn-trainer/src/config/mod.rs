//! The configuration of a run.

mod batch_limit;
mod builders;
mod check;
mod early_stopping;
mod effective;
mod fast_dev_run;
mod init_from;
mod mirror;
mod report;
mod trainer_config;
mod validate_at_start;
mod validation;

pub use crate::process::progress::progress_mode::ProgressMode;
pub use batch_limit::BatchLimit;
pub(crate) use batch_limit::TrainLimits;
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::LockMode;
///
/// let config = TrainerConfig::new().with_lock(LockMode::Required);
/// ```
#[doc(inline)]
pub use burn_ckpt::plumbing::LockMode;
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::WhenBusy;
///
/// let config = TrainerConfig::new().with_when_busy(WhenBusy::Skip).with_max_waiting_saves(2);
/// ```
#[doc(inline)]
pub use burn_ckpt::plumbing::WhenBusy;
pub(crate) use check::check_directory;
pub use early_stopping::EarlyStopping;
pub(crate) use effective::OF_THE_START;
pub use init_from::InitFrom;
pub use mirror::{FailedMirror, MirrorConfig};
pub use trainer_config::{ChangedHparams, EndWith, FailedSaves, TrainerConfig};
pub use validate_at_start::ValidateAtStart;
pub use validation::Validation;
pub(crate) use validation::{ChosenValidation, NeverDue};
