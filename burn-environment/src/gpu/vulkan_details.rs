//! What Vulkan says of an adapter and wgpu does not pass on: its UUID, memory, and versions.
//!
//! The one file with `unsafe` for it. Nothing is opened or made: these are questions about a physical device,
//! asked through the instance that wgpu made.

/// What is asked. `None` where the driver's version of Vulkan does not say.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) memory_bytes: Option<u64>,
    pub(super) uuid: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) driver_version: Option<String>,
}

/// The details of an adapter, if it is one of Vulkan.
#[cfg(not(target_vendor = "apple"))]
#[allow(unsafe_code)]
pub(super) fn details(adapter: &wgpu::Adapter) -> Option<Details> {
    use ash::vk;

    // SAFETY: the handles inside are read from and never destroyed, and not kept beyond `adapter`.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (shared, device) = (adapter.shared_instance(), adapter.raw_physical_device());
    let properties = adapter.physical_device_capabilities().properties();
    let instance = shared.raw_instance();

    // SAFETY: the device is one of this instance, and both live as long as `adapter`.
    let memory = unsafe { instance.get_physical_device_memory_properties(device) };
    let heaps = memory.memory_heaps_as_slice().iter();
    let own = heaps.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));

    // Both must be of 1.1 for the function to be there.
    let uuid =
        (shared.instance_api_version().min(properties.api_version) >= vk::API_VERSION_1_1).then(|| {
            let mut ids = vk::PhysicalDeviceIDProperties::default();
            let mut asked = vk::PhysicalDeviceProperties2::default().push_next(&mut ids);
            // SAFETY: as above, and `asked` is a valid chain of structures that outlive the call.
            unsafe { instance.get_physical_device_properties2(device, &mut asked) };
            uuid(ids.device_uuid)
        });
    Some(Details {
        // Some drivers split the card's memory, and have a window to it as a heap of its own.
        memory_bytes: own.map(|heap| heap.size).max(),
        uuid,
        api_version: Some(version(properties.api_version)),
        driver_version: (properties.driver_version != 0).then(|| version(properties.driver_version)),
    })
}

/// wgpu reaches Metal there.
#[cfg(target_vendor = "apple")]
pub(super) fn details(_: &wgpu::Adapter) -> Option<Details> {
    None
}

/// Vulkan's packing of a version: 7 bits, 10 bits and 12 bits.
#[cfg_attr(target_vendor = "apple", allow(dead_code))]
fn version(packed: u32) -> String {
    format!("{}.{}.{}", (packed >> 22) & 0x7f, (packed >> 12) & 0x3ff, packed & 0xfff)
}

#[cfg_attr(target_vendor = "apple", allow(dead_code))]
fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_unpacked() {
        // As `vulkaninfo` prints it: 1.3.230 (4206822).
        assert_eq!(version(4_206_822), "1.3.230");
        assert_eq!(version(1), "0.0.1");
    }

    #[test]
    fn a_uuid_is_written_in_groups() {
        assert_eq!(uuid(*b"mesa22.3.6\0\0\0\0\0\0"), "6d657361-3232-2e33-2e36-000000000000");
    }
}
