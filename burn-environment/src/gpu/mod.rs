//! The `gpu_devices` list: every GPU of the machine once, whatever interface reaches it.
//!
//! ```text
//! nvidia_library.rs                      NVIDIA's driver library  \
//! wgpu_adapters.rs, vulkan_details.rs    wgpu's adapters           |  listed GPUs -> merge.rs -> each GPU once
//! cuda_devices.rs                        burn's CUDA devices      /                        -> used_devices.rs: which of
//!                                                                                             them the run computed on
//! ```
//!
//! The first is always asked, the others with the features of burn's backends. Each is asked once in a
//! process, one after the other, and the libraries that this loads stay loaded. The Vulkan loader crashes
//! when instances are created and destroyed on several threads, and burn creates one when it opens a device.
//! So in a run the others are asked after its devices are open (`probe.rs`).

#[cfg(feature = "cuda")]
mod cuda_devices;
mod device;
mod device_label;
mod exit_while_asked;
mod listed_gpu;
mod merge;
mod nvidia_library;
mod time_limit;
mod used_devices;
#[cfg(feature = "wgpu")]
mod vulkan_details;
#[cfg(feature = "wgpu")]
mod wgpu_adapters;

use std::panic::catch_unwind;

pub use device::{GpuApi, GpuDevice, GpuKind};
pub use device_label::device_name;
use exit_while_asked::Asking;
use listed_gpu::ListedGpu;
use merge::merge;
use time_limit::AskedOnce;
pub(crate) use time_limit::WAIT_LIMIT;
pub use time_limit::gpus_from;
pub use used_devices::software_renderer;
pub(crate) use used_devices::{UsedDevice, mark_used};

/// The GPUs of this machine, each once: those that NVIDIA's driver lists, and with the features `wgpu` and
/// `cuda` those that burn's backends of these names reach.
///
/// The first call asks the drivers, which can take seconds. If they have not answered after 10 seconds, the
/// list is empty; calls return at once from then on, with the list when the answer has come. No device is
/// opened. With the feature `wgpu`, no other thread may open a device of burn for the first time meanwhile:
/// the Vulkan loader crashes then.
///
/// The [crate's page](crate) has an example.
#[must_use]
pub fn gpus() -> Vec<GpuDevice> {
    try_gpus().unwrap_or_default()
}

static FOUND: AskedOnce<Vec<GpuDevice>> = AskedOnce::new();

/// As [`gpus`], or `None` if the drivers do not answer within 10 seconds.
///
/// ```no_run
/// match burn_environment::try_gpus() {
///     Some(gpus) => println!("{} GPUs", gpus.len()),
///     None => println!("a driver does not answer"),
/// }
/// ```
#[must_use]
pub fn try_gpus() -> Option<Vec<GpuDevice>> {
    FOUND.wait_for(ask_all, WAIT_LIMIT)
}

/// As [`gpus`], however long it takes: hangs if a driver hangs.
pub(crate) fn wait_for_gpus() -> Vec<GpuDevice> {
    FOUND.wait(ask_all)
}

fn ask_all() -> Vec<GpuDevice> {
    merge(ENUMERATORS.iter().flat_map(|list| asked(*list)).collect())
}

/// Asks NVIDIA's library ahead of [`gpus`]. It may be asked while other threads open devices.
pub(crate) fn ask_nvml() {
    asked(nvidia_library::gpus);
}

/// All that can list GPUs. Where two describe a GPU differently, the first one counts. The library of another
/// vendor is added here.
const ENUMERATORS: &[fn() -> Vec<ListedGpu>] = &[
    nvidia_library::gpus,
    #[cfg(feature = "wgpu")]
    wgpu_adapters::gpus,
    #[cfg(feature = "cuda")]
    cuda_devices::gpus,
];

/// What one of them lists: nothing if it panics, so that the others still count.
fn asked(list: fn() -> Vec<ListedGpu>) -> Vec<ListedGpu> {
    let _asking = Asking::begin();
    catch_unwind(list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_panics_has_seen_nothing() {
        assert!(asked(|| panic!("a broken driver (part of the test)")).is_empty());
    }
}
