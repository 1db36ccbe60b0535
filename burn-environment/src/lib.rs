//! What a program runs on: processors, memory, GPUs, packages, compiler, operating system, git commit, and
//! the Slurm or LSF job. burn-trainer writes it into each checkpoint, as the `environment` section of the
//! metadata. `burn-ckpt env` prints it.
//!
//! [`Environment::collect`] collects everything at once, which can take seconds. A program that trains uses
//! an [`EnvironmentProbe`], which collects on a thread of its own. [`program!`](crate::program) records the
//! program's own packages.
//!
//! Three rules hold in every file:
//!
//! - What cannot be found out is `null` or an empty list, never an error.
//! - Only what is named here is recorded. Variables of the process are read one by one, by name, and never
//!   listed. No URL that could hold a credential is kept.
//! - A part that could hang (a program, a driver) hangs its own thread and never the training.
//!
//! ```no_run
//! let environment = burn_environment::Environment::collect();
//! println!("{:?} with {:?}", environment.os, environment.hardware);
//! if let Some(slurm) = &environment.slurm {
//!     println!("Slurm job {:?}", slurm.job_id);
//! }
//! for gpu in burn_environment::gpus() {
//!     println!("{gpu}");
//! }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod environment;
mod git;
mod gpu;
mod hardware;
mod os;
mod packages;
mod probe;
mod process_memory;
mod program_macro;
mod scheduler;
mod subprocess;
mod toolchain;
#[cfg(test)]
mod write_file;

pub use burn_environment_build::Package;
pub use environment::{Environment, slurm};
pub use git::Git;
pub use gpu::{GpuApi, GpuDevice, GpuKind, device_name, gpus, try_gpus};
pub use hardware::Hardware;
pub use os::Os;
pub use probe::EnvironmentProbe;
pub use process_memory::{ProcessMemory, available_memory};
pub use scheduler::{Lsf, LsfHost, Slurm};
pub use toolchain::Rust;

/// What `burn-trainer`, the program `burn-ckpt` and the macro [`program!`](crate::program) call. Not stable.
#[doc(hidden)]
pub mod plumbing {
    pub use crate::gpu::{gpus_from, software_renderer};
    pub use crate::packages::register_program;
    pub use crate::subprocess::output_of;
}
