//! burn's distributed data parallel training on several devices of this process, with an error where burn would panic.

use std::panic::catch_unwind;

use burn::tensor::Device;
use burn::tensor::distributed::DistributedConfig;
use burn::train::ExecutionStrategy;
use burn_ckpt::panic_message;

use crate::error::{Error, Result};

/// burn's `DistributedDataParallel` on these devices, for [`Trainer::fit_with`](crate::Trainer::fit_with): each has a
/// model of its own, and gradients are averaged by collective operations.
///
/// In burn 0.22 CUDA devices can do that, all of them in this process. For others, and for several devices without
/// collectives, there is [`Trainer::devices`](crate::Trainer::devices).
///
/// # Errors
///
/// [`Error::Config`] when there is no device, and for devices that burn has no collective operations for or that are not
/// of one kind. (burn panics then, so there is a panic's message on standard error too.) Of cubecl's backends other
/// than CUDA burn finds out in the first step only.
pub fn ddp(devices: Vec<Device>, config: DistributedConfig) -> Result<ExecutionStrategy> {
    if devices.is_empty() {
        return Err(Error::config("devices", "distributed training needs one at least"));
    }
    let names = format!("{devices:?}");
    catch_unwind(move || ExecutionStrategy::ddp(devices, config)).map_err(|panic| {
        let reason = format!(
            "distributed data parallel training needs CUDA devices of one process, and these are {names}: {}. \
             Trainer::devices trains on several devices of any kind",
            panic_message(&*panic)
        );
        Error::config("devices", reason)
    })
}
