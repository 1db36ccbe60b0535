//! burn's CUDA devices: the card behind each number, without opening it.
//!
//! CUDA counts the cards in an order of its own, and `CUDA_VISIBLE_DEVICES` hides some. burn tells the card
//! of a device only after opening it, which takes hundreds of megabytes of its memory; the driver tells it of
//! a number.

use burn::tensor::{Device, DeviceType};
use cudarc::driver::result::device;
use cudarc::driver::sys::{CUdevice, CUdevice_attribute};

use super::device::{GpuApi, GpuDevice, GpuKind};
use super::device_label::device_name;
use super::listed_gpu::{ListedGpu, Source, pci_address};

pub(super) fn gpus() -> Vec<ListedGpu> {
    // burn looks whether the driver's library is there before it calls anything, and initialises it.
    let devices = Device::enumerate(DeviceType::Cuda);
    devices.iter().zip(0..).map(|(device, number)| listed_gpu(device, number)).collect()
}

fn listed_gpu(burns: &Device, number: i32) -> ListedGpu {
    let mut gpu = GpuDevice {
        vendor: Some("NVIDIA".to_owned()),
        burn_devices: vec![device_name(burns)],
        apis: vec![GpuApi { name: Source::Cuda.api().to_owned(), version: None }],
        ..GpuDevice::default()
    };
    if let Ok(device) = device::get(number) {
        describe(device, &mut gpu);
    }
    ListedGpu { source: Source::Cuda, gpu }
}

fn describe(device: CUdevice, gpu: &mut GpuDevice) {
    use CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR, CU_DEVICE_ATTRIBUTE_INTEGRATED as INTEGRATED,
        CU_DEVICE_ATTRIBUTE_PCI_BUS_ID as BUS, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID as SLOT,
        CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID as DOMAIN,
    };
    let ask = |attribute| attribute_of(device, attribute);
    gpu.name = device::get_name(device).ok();
    gpu.memory_bytes = memory_of(device);
    if let (Some(domain), Some(bus), Some(slot)) = (ask(DOMAIN), ask(BUS), ask(SLOT)) {
        gpu.pci_address = pci_address(&format!("{domain:04x}:{bus:02x}:{slot:02x}.0"));
    }
    if let (Some(major), Some(minor)) = (ask(MAJOR), ask(MINOR)) {
        gpu.compute_capability = Some(format!("{major}.{minor}"));
    }
    gpu.kind = ask(INTEGRATED).filter(|integrated| *integrated != 0).map(|_| GpuKind::Integrated);
}

#[allow(unsafe_code)]
fn attribute_of(device: CUdevice, attribute: CUdevice_attribute) -> Option<i32> {
    // SAFETY: the device is one that the driver returned for a number.
    unsafe { device::get_attribute(device, attribute) }.ok()
}

#[allow(unsafe_code)]
fn memory_of(device: CUdevice) -> Option<u64> {
    // SAFETY: as above.
    let bytes = unsafe { device::total_mem(device) }.ok()?;
    u64::try_from(bytes).ok()
}
