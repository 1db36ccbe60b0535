//! Which GPUs a run computed on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;

use super::device::GpuDevice;
use super::device_label::device_name;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use super::listed_gpu::pci_address;

/// A device of burn's that a run has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsedDevice {
    /// As the run's `devices_used` has it.
    pub(crate) name: String,
    /// How burn describes the hardware of the device. `None` for the processor itself.
    behind: Option<Behind>,
}

/// The hardware of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
// burn's other backends do not describe it.
#[cfg_attr(not(any(feature = "wgpu", feature = "cuda", test)), allow(dead_code))]
struct Behind {
    name: String,
    vendor: Option<String>,
    pci_address: Option<String>,
    /// Whether it is a card, and not a program that computes as one.
    is_card: bool,
}

impl UsedDevice {
    /// Asks burn, which opens a device that is not open yet.
    pub(crate) fn of(device: &Device) -> Self {
        // burn panics for a device that it cannot open.
        let behind = catch_unwind(AssertUnwindSafe(|| behind(device))).unwrap_or_default();
        Self { name: device_name(device), behind }
    }
}

/// Programs that compute as a GPU on the processor.
const SOFTWARE: [&str; 3] = ["llvmpipe", "softpipe", "swiftshader"];

/// Whether the name of an adapter is that of a program that computes as a GPU on the processor.
pub(super) fn is_software(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SOFTWARE.iter().any(|program| name.contains(program))
}

/// The program that computes as a GPU on the processor, if a device is one: `llvmpipe (LLVM 15.0.6, 256
/// bits)`. Opens the device.
///
/// ```no_run
/// let device = burn::tensor::Device::default();
/// if let Some(name) = burn_environment::plumbing::software_renderer(&device) {
///     println!("{name} is not a GPU");
/// }
/// ```
#[must_use]
pub fn software_renderer(device: &Device) -> Option<String> {
    let Behind { name, is_card, .. } = UsedDevice::of(device).behind?;
    (!is_card && is_software(&name)).then_some(name)
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn behind(device: &Device) -> Option<Behind> {
    let identity = device.identity()?;
    let card = identity.physical;
    Some(Behind {
        name: identity.name,
        vendor: card.as_ref().and_then(|card| card.vendor).map(|vendor| vendor.to_string()),
        pci_address: card.as_ref().and_then(|card| pci_address(&card.pci_address?.to_string())),
        is_card: card.is_some(),
    })
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn behind(_: &Device) -> Option<Behind> {
    None
}

/// Marks the GPUs of the list that these devices compute on, and adds a card that is not in the list.
pub(crate) fn mark_used(mut list: Vec<GpuDevice>, devices: &[UsedDevice]) -> Vec<GpuDevice> {
    for device in devices {
        let position = match (position(&list, device), &device.behind) {
            (Some(position), _) => position,
            (None, Some(behind)) if behind.is_card => {
                list.push(GpuDevice {
                    name: Some(behind.name.clone()),
                    vendor: behind.vendor.clone(),
                    pci_address: behind.pci_address.clone(),
                    ..GpuDevice::default()
                });
                list.len() - 1
            }
            (None, _) => continue,
        };
        let gpu = &mut list[position];
        gpu.used = true;
        if !gpu.burn_devices.contains(&device.name) {
            gpu.burn_devices.push(device.name.clone());
        }
    }
    list
}

fn position(list: &[GpuDevice], UsedDevice { name, behind }: &UsedDevice) -> Option<usize> {
    let find = |is_it: &dyn Fn(&GpuDevice) -> bool| list.iter().position(is_it);
    let behind = behind.as_ref();
    if let Some(address) = behind.and_then(|behind| behind.pci_address.as_ref())
        && list.iter().any(|gpu| gpu.pci_address.is_some())
    {
        return find(&|gpu| gpu.pci_address.as_ref() == Some(address));
    }
    find(&|gpu| gpu.burn_devices.contains(name))
        // burn's default is the first of equal ones.
        .or_else(|| find(&|gpu| gpu.name.is_some() && gpu.name.as_ref() == behind.map(|behind| &behind.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str, pci: Option<&str>, burn_devices: &[&str]) -> GpuDevice {
        GpuDevice {
            name: Some(name.to_owned()),
            pci_address: pci.map(str::to_owned),
            burn_devices: burn_devices.iter().map(|device| (*device).to_owned()).collect(),
            ..GpuDevice::default()
        }
    }

    fn device(name: &str, behind: Option<(&str, Option<&str>, bool)>) -> UsedDevice {
        let behind = behind.map(|(name, pci, is_card)| Behind {
            name: name.to_owned(),
            vendor: None,
            pci_address: pci.map(str::to_owned),
            is_card,
        });
        UsedDevice { name: name.to_owned(), behind }
    }

    fn used(list: &[GpuDevice]) -> Vec<bool> {
        list.iter().map(|gpu| gpu.used).collect()
    }

    #[test]
    fn a_program_that_computes_as_a_gpu_is_known_by_its_name_and_the_processor_is_not_one() {
        for name in ["llvmpipe (LLVM 15.0.6, 256 bits)", "SwiftShader Device (Subzero)"] {
            assert!(is_software(name), "{name}");
        }
        assert!(!is_software("NVIDIA H200") && !is_software("AMD Radeon Graphics (RADV RENOIR)"));
        assert_eq!(software_renderer(&Device::flex()), None);
    }

    #[test]
    fn a_card_is_found_by_its_address() {
        let list = vec![gpu("T4", Some("0000:01:00.0"), &[]), gpu("T4", Some("0000:02:00.0"), &[])];
        let list = mark_used(list, &[device("Cuda(0)", Some(("T4", Some("0000:02:00.0"), true)))]);
        assert_eq!(used(&list), [false, true]);
        assert_eq!(list[1].burn_devices, ["Cuda(0)"]);
    }

    #[test]
    fn a_device_that_burn_lists_is_found_by_its_name_there() {
        let list = vec![gpu("M", None, &["Wgpu(DiscreteGpu(0))"]), gpu("M", None, &["Wgpu(DiscreteGpu(1))"])];
        let list = mark_used(list, &[device("Wgpu(DiscreteGpu(1))", Some(("M", None, true)))]);
        assert_eq!(used(&list), [false, true]);
        assert_eq!(list[1].burn_devices, ["Wgpu(DiscreteGpu(1))"]);
    }

    #[test]
    fn the_default_device_is_found_by_the_name_of_what_is_behind_it() {
        let list = vec![gpu("other", None, &[]), gpu("llvmpipe", None, &["Wgpu(Cpu)"])];
        let list = mark_used(list, &[device("Wgpu(DefaultDevice)", Some(("llvmpipe", None, false)))]);
        assert_eq!(used(&list), [false, true]);
        assert_eq!(list[1].burn_devices, ["Wgpu(Cpu)", "Wgpu(DefaultDevice)"]);
    }

    #[test]
    fn a_card_that_is_not_in_the_list_is_added_and_a_processor_is_not() {
        let list = vec![gpu("T4", Some("0000:01:00.0"), &[])];
        let card = device("Cuda(1)", Some(("T4", Some("0000:09:00.0"), true)));
        let processors = [device("Flex", None), device("Cpu(0)", Some(("a processor", None, false)))];
        let list = mark_used(list, &[&processors[..], &[card]].concat());
        assert_eq!(used(&list), [false, true]);
        assert_eq!(list[1].pci_address.as_deref(), Some("0000:09:00.0"));
    }

    #[test]
    fn a_gpu_without_a_name_is_not_used() {
        let list = mark_used(vec![GpuDevice::default()], &[device("Flex", None)]);
        assert_eq!(used(&list), [false]);
    }
}
