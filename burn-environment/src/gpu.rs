//! The `gpu_devices` list: which accelerators the machine has, as their drivers tell.

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};

/// One GPU of the machine. What its driver does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuDevice {
    /// Product name, such as `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// Who made it, such as `NVIDIA`.
    pub vendor: Option<String>,
    /// Memory of the device, in bytes.
    pub memory_bytes: Option<u64>,
    /// Address on the PCI bus, such as `00000000:3B:00.0`.
    pub pci_address: Option<String>,
    /// The vendor's identifier of this very device.
    pub uuid: Option<String>,
    /// Version of the driver that answered.
    pub driver_version: Option<String>,
}

/// Everyone who can list GPUs. Another vendor's library joins by adding a function here.
const ENUMERATORS: &[fn() -> Vec<GpuDevice>] = &[nvidia];

/// The GPUs of the machine; empty where no driver answers.
pub(crate) fn devices() -> Vec<GpuDevice> {
    devices_of(ENUMERATORS)
}

fn devices_of(enumerators: &[fn() -> Vec<GpuDevice>]) -> Vec<GpuDevice> {
    enumerators.iter().flat_map(|list| list()).collect()
}

/// The GPUs that the NVIDIA driver manages.
///
/// Its library is looked for while the program runs, so the program starts on machines without it.
fn nvidia() -> Vec<GpuDevice> {
    nvidia_of(Nvml::init())
}

fn nvidia_of(library: Result<Nvml, NvmlError>) -> Vec<GpuDevice> {
    // No library, a library without a driver, no permission: in each case there is no GPU to be
    // used.
    let Ok(nvml) = library else {
        return Vec::new();
    };
    let driver_version = nvml.sys_driver_version().ok();
    let count = nvml.device_count().unwrap_or(0);
    let devices = (0..count).map(|index| {
        let mut found = GpuDevice {
            vendor: Some("NVIDIA".to_owned()),
            driver_version: driver_version.clone(),
            ..GpuDevice::default()
        };
        // A device that has fallen off the bus is still counted: that is worth seeing in the
        // metadata.
        if let Ok(device) = nvml.device_by_index(index) {
            found.name = device.name().ok();
            found.memory_bytes = device.memory_info().ok().map(|memory| memory.total);
            found.pci_address = device.pci_info().ok().map(|pci| pci.bus_id);
            found.uuid = device.uuid().ok();
        }
        found
    });
    devices.collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_machine_without_the_nvidia_library_has_no_nvidia_gpu() {
        let library = Nvml::builder().lib_path(OsStr::new("libburn-environment-no-such-library.so")).init();
        assert!(library.is_err());
        assert_eq!(nvidia_of(library), []);
    }

    #[test]
    fn every_enumerator_adds_its_devices_in_order() {
        fn named(name: &str) -> GpuDevice {
            GpuDevice { name: Some(name.to_owned()), ..GpuDevice::default() }
        }
        let enumerators: [fn() -> Vec<GpuDevice>; 3] =
            [|| vec![named("a"), named("b")], Vec::new, || vec![named("c")]];
        assert_eq!(devices_of(&enumerators), [named("a"), named("b"), named("c")]);
    }

    #[test]
    fn the_nvidia_gpus_are_those_that_nvidia_smi_lists() {
        let listed =
            Command::new("nvidia-smi").args(["--query-gpu=uuid,name", "--format=csv,noheader"]).output();
        let expected: Vec<String> = match listed {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
            }
            // A container can have the driver without the tool: then nothing is left to compare
            // with.
            _ if Path::new("/proc/driver/nvidia/version").exists() => return,
            _ => Vec::new(),
        };
        let found: Vec<String> = nvidia()
            .into_iter()
            .map(|gpu| format!("{}, {}", gpu.uuid.unwrap_or_default(), gpu.name.unwrap_or_default()))
            .collect();
        assert_eq!(found, expected);
    }
}
