//! wgpu's adapters: what Vulkan, Metal and Direct3D reach, OpenGL where those reach no hardware; and which of
//! burn's devices each of them is.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, DeviceType};
use wgpu::{Adapter, AdapterInfo, Backend, Backends, Instance, InstanceDescriptor, InstanceFlags};

use super::device::{GpuApi, GpuDevice, GpuKind};
use super::device_label::device_name;
use super::listed_gpu::{ListedGpu, Source, pci_address};
use super::used_devices::is_software;
use super::vulkan_details;

/// The interfaces in burn's order of preference (cubecl-wgpu's `AutoGraphicsApi`).
const BACKENDS: [Backend; 4] = [Backend::Vulkan, Backend::Metal, Backend::Dx12, Backend::Gl];

pub(super) fn gpus() -> Vec<ListedGpu> {
    let mut lists: Vec<Vec<ListedGpu>> = Vec::new();
    for backend in BACKENDS {
        // OpenGL makes a context to tell what it reaches, on a card where it can.
        if backend == Backend::Gl && lists.iter().any(|list| has_hardware(list)) {
            break;
        }
        lists.push(adapters(backend).iter().filter_map(listed_gpu).collect());
    }
    name_burns_devices(&mut lists, &burns_devices());
    lists.into_iter().flatten().collect()
}

/// What one interface reaches.
fn adapters(backend: Backend) -> Vec<Adapter> {
    let backends = Backends::from(backend);
    if !Instance::enabled_backend_features().contains(backends) {
        return Vec::new();
    }
    let instance = Instance::new(InstanceDescriptor {
        backends,
        flags: InstanceFlags::empty(),
        ..InstanceDescriptor::new_without_display_handle()
    });
    // There is nothing to wait for outside of a browser.
    let found = pin!(instance.enumerate_adapters(backends)).poll(&mut Context::from_waker(Waker::noop()));
    // Never dropped: the loader crashes when that falls together with an instance of burn's.
    std::mem::forget(instance);
    match found {
        Poll::Ready(adapters) => adapters,
        Poll::Pending => Vec::new(),
    }
}

fn listed_gpu(adapter: &Adapter) -> Option<ListedGpu> {
    let info = adapter.get_info();
    let source = match info.backend {
        Backend::Vulkan => Source::Vulkan,
        Backend::Metal => Source::Metal,
        Backend::Dx12 => Source::Dx12,
        Backend::Gl => Source::Gl,
        Backend::Noop | Backend::BrowserWebGpu => return None,
    };
    let details = vulkan_details::details(adapter).unwrap_or_default();
    let mut gpu = of_info(source, info);
    gpu.memory_bytes = details.memory_bytes;
    gpu.uuid = details.uuid;
    gpu.apis[0].version = gpu.apis[0].version.take().or(details.api_version);
    if !gpu.driver_version.as_ref().is_some_and(|version| version.contains(|c: char| c.is_ascii_digit())) {
        // `Intel driver` is not a version.
        gpu.driver_version = details.driver_version.or(gpu.driver_version);
    }
    Some(ListedGpu { source, gpu })
}

fn of_info(source: Source, info: AdapterInfo) -> GpuDevice {
    let api = GpuApi {
        name: source.api().to_owned(),
        version: (source == Source::Gl).then(|| gl_version(&info.driver_info)).flatten(),
    };
    let kind = kind(&info);
    let (driver, driver_version) = match source {
        // There it is the number of the version.
        Source::Dx12 => (None, told(info.driver)),
        _ => (told(info.driver), told(info.driver_info)),
    };
    GpuDevice {
        name: told(info.name),
        vendor: vendor(info.vendor),
        kind: Some(kind),
        // wgpu gives a Direct3D adapter the address of the first card of its make.
        pci_address: (source != Source::Dx12).then(|| pci_address(&info.device_pci_bus_id)).flatten(),
        driver,
        driver_version,
        apis: vec![api],
        ..GpuDevice::default()
    }
}

/// wgpu writes nothing, or `?`, where it does not know.
fn told(text: String) -> Option<String> {
    (!matches!(text.trim(), "" | "?")).then_some(text)
}

fn kind(info: &AdapterInfo) -> GpuKind {
    match info.device_type {
        wgpu::DeviceType::Cpu => GpuKind::Cpu,
        _ if is_software(&info.name) => GpuKind::Cpu,
        wgpu::DeviceType::DiscreteGpu => GpuKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => GpuKind::Integrated,
        wgpu::DeviceType::VirtualGpu => GpuKind::Virtual,
        wgpu::DeviceType::Other => GpuKind::Other,
    }
}

/// `4.5` of `4.5 (Core Profile) Mesa 22.3.6`, and `ES 3.2` of `OpenGL ES 3.2 Mesa 22.3.6`.
fn gl_version(text: &str) -> Option<String> {
    let (prefix, text) = match text.split_once("OpenGL ES ") {
        Some((_, version)) => ("ES ", version),
        None => ("", text),
    };
    let number: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (!number.is_empty()).then(|| format!("{prefix}{number}"))
}

/// The maker, by its number on the PCI bus, or by the one that Khronos gave to software.
fn vendor(id: u32) -> Option<String> {
    let name = match id {
        0 => return None,
        0x1002 => "AMD",
        0x1010 => "Imagination",
        0x106b => "Apple",
        0x10de => "NVIDIA",
        0x13b5 => "ARM",
        0x1414 => "Microsoft",
        0x144d => "Samsung",
        0x14e4 => "Broadcom",
        0x15ad => "VMware",
        0x1af4 => "Red Hat",
        0x5143 => "Qualcomm",
        0x8086 => "Intel",
        0x10005 => "Mesa",
        id => return Some(format!("{id:#06x}")),
    };
    Some(name.to_owned())
}

/// burn's devices of wgpu. None of them is opened.
fn burns_devices() -> Vec<String> {
    Device::enumerate(DeviceType::Wgpu).iter().map(device_name).collect()
}

/// Gives each adapter the name of the device that burn reaches it by. burn takes those of the first interface
/// with hardware, or else of the first with any, and counts each kind by itself.
fn name_burns_devices(lists: &mut [Vec<ListedGpu>], devices: &[String]) {
    let settled = lists
        .iter()
        .position(|list| has_hardware(list))
        .or_else(|| lists.iter().position(|list| !list.is_empty()));
    let Some(list) = settled.map(|settled| &mut lists[settled]) else { return };
    let mut counts = [0; 5];
    for gpu in list.iter_mut().map(|listed| &mut listed.gpu) {
        let (counter, kind) = match gpu.kind {
            Some(GpuKind::Discrete) => (0, "DiscreteGpu"),
            Some(GpuKind::Integrated) => (1, "IntegratedGpu"),
            Some(GpuKind::Virtual) => (2, "VirtualGpu"),
            Some(GpuKind::Other) => (3, "Other"),
            Some(GpuKind::Cpu) => (4, "Cpu"),
            None => continue,
        };
        let number = counts[counter];
        counts[counter] += 1;
        let name = match (kind, number) {
            // burn knows the first alone.
            ("Cpu", 0) => "Wgpu(Cpu)".to_owned(),
            ("Cpu", _) => continue,
            _ => format!("Wgpu({kind}({number}))"),
        };
        gpu.burn_devices.extend(devices.contains(&name).then_some(name));
    }
}

fn has_hardware(list: &[ListedGpu]) -> bool {
    list.iter().any(|listed| listed.gpu.kind != Some(GpuKind::Cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(source: Source, kinds: &[GpuKind]) -> Vec<ListedGpu> {
        let gpu = |kind: &GpuKind| GpuDevice { kind: Some(*kind), ..GpuDevice::default() };
        kinds.iter().map(|kind| ListedGpu { source, gpu: gpu(kind) }).collect()
    }

    fn named(lists: &[Vec<ListedGpu>]) -> Vec<Vec<String>> {
        lists.iter().flatten().map(|listed| listed.gpu.burn_devices.clone()).collect()
    }

    #[test]
    fn burns_devices_are_counted_by_kind_on_the_interface_with_hardware() {
        use GpuKind::{Cpu, Discrete, Integrated};
        let mut lists = [list(Source::Vulkan, &[Cpu]), list(Source::Dx12, &[Discrete, Integrated, Discrete])];
        let devices = ["Wgpu(DiscreteGpu(0))", "Wgpu(IntegratedGpu(0))", "Wgpu(DiscreteGpu(1))"];
        name_burns_devices(&mut lists, &devices.map(str::to_owned));
        let expected = [&[][..], &[devices[0]], &[devices[1]], &[devices[2]]];
        assert_eq!(named(&lists), expected);
    }

    #[test]
    fn software_alone_is_the_device_cpu_once() {
        let mut lists = [list(Source::Vulkan, &[GpuKind::Cpu; 2]), list(Source::Gl, &[GpuKind::Cpu])];
        name_burns_devices(&mut lists, &["Wgpu(Cpu)".to_owned()]);
        assert_eq!(named(&lists), [&["Wgpu(Cpu)".to_owned()][..], &[], &[]]);
    }

    #[test]
    fn a_device_that_burn_does_not_list_is_not_made_up() {
        let mut lists = [list(Source::Vulkan, &[GpuKind::Discrete])];
        name_burns_devices(&mut lists, &[]);
        assert_eq!(named(&lists), [Vec::<String>::new()]);
    }

    #[test]
    fn the_version_of_opengl_is_a_number() {
        for (text, version) in [
            ("4.5 (Core Profile) Mesa 22.3.6", Some("4.5")),
            ("OpenGL ES 3.2 Mesa 22.3.6", Some("ES 3.2")),
            ("4.6.0 NVIDIA 550.54.14", Some("4.6.0")),
            ("", None),
            ("WebGL", None),
        ] {
            assert_eq!(gl_version(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn a_maker_without_a_name_here_is_a_number() {
        assert_eq!(vendor(0x10de).as_deref(), Some("NVIDIA"));
        assert_eq!(vendor(0x19e5).as_deref(), Some("0x19e5"));
        assert_eq!(vendor(0), None);
    }
}
