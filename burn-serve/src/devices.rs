//! The devices that are served: those of one backend, all of them.

use backend::Backend;
use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;
use burn_trainer::process::start_device;

use crate::error::{Error, Result};

/// The devices of the backend, started. burn has one CPU; of it there can be several, which share the
/// processor.
pub fn of(backend: Backend, count: Option<u16>) -> Result<Vec<Device>> {
    let devices: Vec<Device> = match backend {
        Backend::Flex => return Ok(vec![backend.device()?; usize::from(count.unwrap_or(1))]),
        _ if count.is_some() => {
            return Err(Error::Usage(format!(
                "--devices is for the CPU; of {backend} every device is served"
            )));
        }
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => all(DeviceType::Wgpu),
        #[cfg(feature = "vulkan")]
        Backend::Vulkan => all(DeviceType::Vulkan),
        #[cfg(feature = "cuda")]
        Backend::Cuda => all(DeviceType::Cuda),
        // It says what the program was not built for.
        #[allow(unreachable_patterns)]
        _ => vec![backend.device()?],
    };
    if devices.is_empty() {
        // The backend's default device says why there is none.
        return Ok(vec![backend.device()?]);
    }
    devices.iter().try_for_each(start_device)?;
    Ok(devices)
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn all(kind: DeviceType) -> Vec<Device> {
    Device::enumerate(kind).iter().cloned().collect()
}
