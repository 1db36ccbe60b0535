//! From what each interface lists to a list with every GPU once. Pure: no driver is asked.

use super::device::{GpuApi, GpuDevice, GpuKind};
use super::listed_gpu::{ListedGpu, Source};

/// Puts what the interfaces list of one GPU together, in the order in which they are first seen. What an
/// earlier one says goes before what a later one does.
pub(super) fn merge(listed: Vec<ListedGpu>) -> Vec<GpuDevice> {
    let mut found: Vec<(GpuDevice, Vec<Source>)> = Vec::new();
    for ListedGpu { source, gpu } in listed {
        let known = found.iter().position(|(known, _)| is_same(known, &gpu) == Some(true)).or_else(|| {
            // An interface lists equal cards one after the other, so two of its entries are two cards.
            found.iter().position(|(known, seen_by)| {
                is_same(known, &gpu).is_none() && !seen_by.contains(&source) && is_alike(known, &gpu)
            })
        });
        match known.map(|known| &mut found[known]) {
            Some((known, seen_by)) => {
                fill(known, gpu);
                seen_by.push(source);
            }
            None => found.push((gpu, vec![source])),
        }
    }
    let complete = |(mut gpu, seen_by): (GpuDevice, Vec<Source>)| {
        // The library is for cards; of the few chips that it knows too, another interface says so.
        if seen_by.contains(&Source::Nvml) {
            gpu.kind.get_or_insert(GpuKind::Discrete);
        }
        gpu
    };
    found.into_iter().map(complete).collect()
}

/// Whether two entries are known to be of one GPU, or of two: by the address if both have one, else by the
/// UUID.
fn is_same(one: &GpuDevice, other: &GpuDevice) -> Option<bool> {
    let uuid = |gpu: &GpuDevice| gpu.uuid.as_deref().map(bare_uuid);
    match (&one.pci_address, &other.pci_address) {
        (Some(one), Some(other)) => Some(one == other),
        _ => uuid(one).zip(uuid(other)).map(|(one, other)| one == other),
    }
}

/// The digits alone: NVIDIA's library and Vulkan say the same of a card, `GPU-` before it or not.
fn bare_uuid(uuid: &str) -> String {
    let digits = uuid.strip_prefix("GPU-").unwrap_or(uuid).chars().filter(|c| *c != '-');
    digits.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether two entries may be of one GPU by name and kind. OpenGL adds to a name (`NVIDIA T4/PCIe/SSE2`) and
/// knows of no kinds.
fn is_alike(one: &GpuDevice, other: &GpuDevice) -> bool {
    let is_of_a_kind = match (one.kind, other.kind) {
        (Some(one), Some(other)) => one == other || one == GpuKind::Other || other == GpuKind::Other,
        _ => true,
    };
    let (Some(one), Some(other)) = (&one.name, &other.name) else { return false };
    is_of_a_kind && (one == other || begins_with(one, other) || begins_with(other, one))
}

fn begins_with(long: &str, short: &str) -> bool {
    !short.is_empty() && long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether it is a slice of a card (MIG), as CUDA names it: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
fn is_slice(gpu: &GpuDevice) -> bool {
    gpu.name.as_deref().is_some_and(|name| name.contains(" MIG "))
}

fn fill(known: &mut GpuDevice, other: GpuDevice) {
    if is_slice(&other) && !is_slice(known) {
        // It has the card's address, and is what this process computes on: the card's memory, name and UUID
        // are not its own.
        (known.name, known.memory_bytes, known.uuid) = (None, None, None);
        known.kind = Some(GpuKind::Virtual);
    }
    let GpuDevice {
        name,
        vendor,
        kind,
        memory_bytes,
        pci_address,
        uuid,
        driver,
        driver_version,
        apis,
        compute_capability,
        burn_devices,
        used,
    } = other;
    fn take<T>(known: &mut Option<T>, other: Option<T>) {
        *known = known.take().or(other);
    }
    take(&mut known.name, name);
    take(&mut known.vendor, vendor);
    take(&mut known.kind, kind);
    take(&mut known.memory_bytes, memory_bytes);
    take(&mut known.pci_address, pci_address);
    take(&mut known.uuid, uuid);
    // The version is that of the driver: one says both.
    if known.driver.is_none() && known.driver_version.is_none() {
        (known.driver, known.driver_version) = (driver, driver_version);
    }
    for api in apis {
        match known.apis.iter_mut().find(|known| known.name == api.name) {
            Some(GpuApi { version, .. }) => take(version, api.version),
            None => known.apis.push(api),
        }
    }
    take(&mut known.compute_capability, compute_capability);
    for device in burn_devices {
        if !known.burn_devices.contains(&device) {
            known.burn_devices.push(device);
        }
    }
    known.used |= used;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::listed_gpu::pci_address;

    const GIB: u64 = 1 << 30;

    fn seen(source: Source, name: &str) -> ListedGpu {
        let apis = vec![GpuApi { name: source.api().to_owned(), version: None }];
        ListedGpu { source, gpu: GpuDevice { name: Some(name.to_owned()), apis, ..GpuDevice::default() } }
    }

    impl ListedGpu {
        fn at(mut self, pci: &str) -> Self {
            self.gpu.pci_address = pci_address(pci);
            self
        }

        fn uuid(mut self, uuid: &str) -> Self {
            self.gpu.uuid = Some(uuid.to_owned());
            self
        }

        fn kind(mut self, kind: GpuKind) -> Self {
            self.gpu.kind = Some(kind);
            self
        }

        fn burn(mut self, device: &str) -> Self {
            self.gpu.burn_devices.push(device.to_owned());
            self
        }

        fn memory(mut self, bytes: u64) -> Self {
            self.gpu.memory_bytes = Some(bytes);
            self
        }

        fn version(mut self, version: &str) -> Self {
            self.gpu.apis[0].version = Some(version.to_owned());
            self
        }
    }

    fn apis(gpu: &GpuDevice) -> Vec<String> {
        gpu.apis.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_card_that_four_interfaces_reach_is_one() {
        let uuid = "8b3c1a52-77aa-4c3c-9d1e-0a1b2c3d4e5f";
        let list = merge(vec![
            seen(Source::Nvml, "NVIDIA H100 80GB HBM3")
                .at("00000000:3B:00.0")
                .uuid(&format!("GPU-{uuid}"))
                .version("12.4")
                .memory(80 * GIB),
            seen(Source::Vulkan, "NVIDIA H100 80GB HBM3")
                .at("0000:3b:00.0")
                .uuid(uuid)
                .version("1.3.277")
                .kind(GpuKind::Discrete)
                .memory(79 * GIB)
                .burn("Wgpu(DiscreteGpu(0))"),
            seen(Source::Gl, "NVIDIA H100 80GB HBM3/PCIe/SSE2").version("4.6").kind(GpuKind::Other),
            seen(Source::Cuda, "NVIDIA H100 80GB HBM3").at("0000:3B:00.0").burn("Cuda(0)"),
        ]);
        assert_eq!(list.len(), 1, "{list:#?}");
        let gpu = &list[0];
        assert_eq!(gpu.pci_address.as_deref(), Some("0000:3b:00.0"));
        assert_eq!(gpu.uuid, Some(format!("GPU-{uuid}")));
        assert_eq!((gpu.memory_bytes, gpu.kind), (Some(80 * GIB), Some(GpuKind::Discrete)));
        assert_eq!(apis(gpu), ["cuda 12.4", "vulkan 1.3.277", "gl 4.6"]);
        assert_eq!(gpu.burn_devices, ["Wgpu(DiscreteGpu(0))", "Cuda(0)"]);
    }

    #[test]
    fn without_addresses_the_uuid_tells() {
        let uuid = "8B3C1A52-77aa-4c3c-9d1e-0a1b2c3d4e5f";
        let nvidia = || seen(Source::Nvml, "NVIDIA T4").uuid(&format!("GPU-{}", uuid.to_lowercase()));
        assert_eq!(merge(vec![nvidia(), seen(Source::Vulkan, "Tesla T4").uuid(uuid)]).len(), 1);
        let other = "11111111-77aa-4c3c-9d1e-0a1b2c3d4e5f";
        assert_eq!(merge(vec![nvidia(), seen(Source::Vulkan, "NVIDIA T4").uuid(other)]).len(), 2);
    }

    #[test]
    fn the_address_goes_before_the_uuid() {
        // As of a card and one of its shares.
        let whole = seen(Source::Nvml, "NVIDIA A100").at("00000000:07:00.0").uuid("GPU-aa");
        let share = seen(Source::Cuda, "NVIDIA A100 MIG 1g.5gb").at("0000:07:00.0").uuid("MIG-bb");
        assert_eq!(merge(vec![whole, share]).len(), 1);
        // As a driver says of all its devices.
        let of = |bus: &str| seen(Source::Vulkan, "a card").at(bus).uuid("00000000");
        assert_eq!(merge(vec![of("0000:01:00.0"), of("0000:02:00.0")]).len(), 2);
    }

    #[test]
    fn a_slice_of_a_card_has_its_own_memory_or_none() {
        let card =
            || seen(Source::Nvml, "NVIDIA A100").at("00000000:07:00.0").uuid("GPU-aa").memory(40 * GIB);
        let slice = || seen(Source::Cuda, "NVIDIA A100 MIG 1g.5gb").at("0000:07:00.0").burn("Cuda(0)");
        for (slice, memory) in [(slice().memory(5 * GIB), Some(5 * GIB)), (slice(), None)] {
            let list = merge(vec![card(), slice]);
            let [gpu] = &list[..] else { panic!("{list:?}") };
            assert_eq!((gpu.name.as_deref(), gpu.memory_bytes), (Some("NVIDIA A100 MIG 1g.5gb"), memory));
            assert_eq!((gpu.kind, gpu.uuid.as_ref()), (Some(GpuKind::Virtual), None));
            assert_eq!(gpu.burn_devices, ["Cuda(0)"]);
        }
        // Another card keeps what it is.
        let other = seen(Source::Nvml, "NVIDIA A100").at("00000000:08:00.0").memory(40 * GIB);
        assert_eq!(merge(vec![card(), other, slice()])[1].memory_bytes, Some(40 * GIB));
    }

    #[test]
    fn equal_cards_without_addresses_stay_as_many_as_each_interface_lists() {
        let card = |source| seen(source, "AMD Radeon Pro").kind(GpuKind::Discrete);
        let list =
            merge(vec![card(Source::Metal), card(Source::Metal), card(Source::Vulkan), card(Source::Vulkan)]);
        assert_eq!(list.len(), 2);
        assert!(list.iter().all(|gpu| apis(gpu) == ["metal", "vulkan"]));
        assert_eq!(merge(vec![card(Source::Dx12), card(Source::Dx12), card(Source::Gl)]).len(), 2);
    }

    #[test]
    fn equal_cards_at_two_addresses_are_two_for_every_interface() {
        let list = merge(vec![
            seen(Source::Nvml, "NVIDIA T4").at("00000000:01:00.0"),
            seen(Source::Nvml, "NVIDIA T4").at("00000000:02:00.0"),
            // In another order.
            seen(Source::Cuda, "NVIDIA T4").at("0000:02:00.0").burn("Cuda(0)"),
            seen(Source::Cuda, "NVIDIA T4").at("0000:01:00.0").burn("Cuda(1)"),
        ]);
        let devices: Vec<&[String]> = list.iter().map(|gpu| &gpu.burn_devices[..]).collect();
        assert_eq!(devices, [["Cuda(1)"], ["Cuda(0)"]]);
    }

    #[test]
    fn a_software_adapter_of_vulkan_and_opengl_is_one() {
        let name = "llvmpipe (LLVM 15.0.6, 256 bits)";
        let vulkan = seen(Source::Vulkan, name).uuid("6d657361-3232").kind(GpuKind::Cpu).version("1.3.230");
        let list = merge(vec![vulkan, seen(Source::Gl, name).kind(GpuKind::Cpu).version("4.5")]);
        assert_eq!(list.len(), 1);
        assert_eq!(apis(&list[0]), ["vulkan 1.3.230", "gl 4.5"]);
    }

    #[test]
    fn a_name_that_another_begins_with_is_another_card() {
        let list = merge(vec![seen(Source::Vulkan, "NVIDIA A10"), seen(Source::Gl, "NVIDIA A100/PCIe/SSE2")]);
        assert_eq!(list.len(), 2);
        let list = merge(vec![seen(Source::Vulkan, "NVIDIA A10"), seen(Source::Gl, "")]);
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn a_gpu_and_a_program_of_one_name_are_two() {
        let list = merge(vec![
            seen(Source::Vulkan, "a").kind(GpuKind::Cpu),
            seen(Source::Dx12, "a").kind(GpuKind::Integrated),
        ]);
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn a_device_that_answers_nothing_is_one_of_its_own() {
        let silent = || ListedGpu { source: Source::Nvml, gpu: GpuDevice::default() };
        let list = merge(vec![
            silent(),
            silent(),
            seen(Source::Vulkan, "NVIDIA T4").at("0000:01:00.0").kind(GpuKind::Discrete),
            ListedGpu { source: Source::Cuda, gpu: GpuDevice::default() },
        ]);
        assert_eq!(list.len(), 4);
        assert_eq!(list[0].name, None);
    }

    #[test]
    fn what_another_interface_says_of_the_kind_goes_before_what_nvml_leaves_open() {
        let nvml = || seen(Source::Nvml, "Orin").uuid("GPU-aa");
        assert_eq!(merge(vec![nvml()])[0].kind, Some(GpuKind::Discrete));
        let vulkan = seen(Source::Vulkan, "Orin").uuid("aa").kind(GpuKind::Integrated);
        assert_eq!(merge(vec![nvml(), vulkan])[0].kind, Some(GpuKind::Integrated));
        let share = nvml().kind(GpuKind::Virtual);
        assert_eq!(merge(vec![share])[0].kind, Some(GpuKind::Virtual));
    }
}
