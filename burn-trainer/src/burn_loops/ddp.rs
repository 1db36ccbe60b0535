//! burn's distributed data parallel training on several devices of this process, with an error where burn
//! would panic.

use burn::tensor::Device;
use burn::tensor::distributed::DistributedConfig;
use burn::train::ExecutionStrategy;
use burn_environment::device_name;

use crate::error::{Error, Result};
use crate::process::start_device::first_panic;
use crate::remote::device_names::REMOTE;

/// burn's `DistributedDataParallel` on these devices, for [`Trainer::fit_with`](crate::Trainer::fit_with):
/// each has a model of its own, and gradients are averaged by collective operations.
///
/// In burn 0.22 CUDA devices can do that, all of them in this process. For others, and for several devices
/// without collectives, there is [`Trainer::devices`](crate::Trainer::devices).
///
/// # Errors
///
/// [`Error::Config`] when there is no device, and for devices that burn has no collective operations for or
/// that are not of one kind. Of cubecl's backends other than CUDA burn finds out in the first step only.
///
/// # Example
///
/// ```no_run
/// # use burn::tensor::distributed::DistributedConfig;
/// # fn run(devices: Vec<burn::tensor::Device>, config: DistributedConfig) -> burn_trainer::Result<()> {
/// let strategy = burn_trainer::burn_loops::ddp(devices, config)?; // for `Trainer::fit_with`
/// # Ok(()) }
/// ```
pub fn ddp(devices: Vec<Device>, config: DistributedConfig) -> Result<ExecutionStrategy> {
    if devices.is_empty() {
        return Err(Error::config("devices", "distributed training needs one at least"));
    }
    let names: Vec<String> = devices.iter().map(device_name).collect();
    let cannot = |problem: String| {
        let reason = format!(
            "distributed data parallel training needs CUDA devices of one process, and these are {}: {problem}. \
             Trainer::devices trains on several devices of any kind",
            names.join(", ")
        );
        Error::config("devices", reason)
    };
    if names.iter().any(|name| name.starts_with(REMOTE)) {
        // burn would find out in the first step, and abort in a destructor.
        return Err(cannot("burn has no collective operations across servers".to_owned()));
    }
    first_panic(move || ExecutionStrategy::ddp(devices, config)).map_err(cannot)
}
