//! What NVIDIA's driver library says of the cards that it manages.
//!
//! The library is looked for while the program runs, so that the program starts on machines without it.

use std::sync::OnceLock;

use nvml_wrapper::enum_wrappers::device::GpuVirtualizationMode;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use super::device::{GpuApi, GpuDevice, GpuKind};
use super::listed_gpu::{ListedGpu, Source, pci_address};

/// Asked once in a process: waking idle cards takes seconds.
pub(super) fn gpus() -> Vec<ListedGpu> {
    static SEEN: OnceLock<Vec<ListedGpu>> = OnceLock::new();
    SEEN.get_or_init(|| gpus_of(Nvml::init())).clone()
}

fn gpus_of(library: Result<Nvml, NvmlError>) -> Vec<ListedGpu> {
    // No library, a library without a driver, no permission: in each case there is no GPU to be used.
    let Ok(nvml) = library else {
        return Vec::new();
    };
    let driver_version = nvml.sys_driver_version().ok();
    let cuda = nvml
        .sys_cuda_driver_version()
        .ok()
        .map(|version| GpuApi { name: Source::Cuda.api().to_owned(), version: Some(cuda_version(version)) });
    let count = nvml.device_count().unwrap_or(0);
    let devices = (0..count).map(|index| {
        let mut gpu = GpuDevice {
            vendor: Some("NVIDIA".to_owned()),
            driver: Some("NVIDIA".to_owned()),
            driver_version: driver_version.clone(),
            apis: cuda.iter().cloned().collect(),
            ..GpuDevice::default()
        };
        // A device that has fallen off the bus is still counted: that is worth seeing in the metadata.
        if let Ok(device) = nvml.device_by_index(index) {
            describe(&device, &mut gpu);
        }
        ListedGpu { source: Source::Nvml, gpu }
    });
    devices.collect()
}

fn describe(device: &Device<'_>, gpu: &mut GpuDevice) {
    gpu.name = device.name().ok();
    // Of a card's share this is the share's.
    gpu.memory_bytes = device.memory_info().ok().map(|memory| memory.total);
    gpu.pci_address = device.pci_info().ok().and_then(|pci| pci_address(&pci.bus_id));
    gpu.uuid = device.uuid().ok();
    gpu.compute_capability = device
        .cuda_compute_capability()
        .ok()
        .map(|capability| format!("{}.{}", capability.major, capability.minor));
    let is_share = matches!(device.virtualization_mode(), Ok(GpuVirtualizationMode::Vgpu));
    gpu.kind = is_share.then_some(GpuKind::Virtual);
}

fn cuda_version(version: i32) -> String {
    format!("{}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_machine_without_the_nvidia_library_has_no_nvidia_gpu() {
        let library = Nvml::builder().lib_path(OsStr::new("libburn-environment-no-such-library.so")).init();
        assert!(library.is_err());
        assert!(gpus_of(library).is_empty());
    }

    #[test]
    fn the_version_of_cuda_is_its_usual_spelling() {
        assert_eq!([12040, 13000, 11080].map(cuda_version), ["12.4", "13.0", "11.8"]);
    }
}
