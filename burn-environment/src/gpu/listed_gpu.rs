//! [`ListedGpu`]: a GPU as one interface lists it, and the one spelling of PCI addresses by which they are
//! compared.

use super::device::GpuDevice;

/// The interface that lists a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Some exist with the features of burn's backends alone.
#[cfg_attr(not(all(feature = "wgpu", feature = "cuda", test)), allow(dead_code))]
pub(super) enum Source {
    Nvml,
    Vulkan,
    Metal,
    Dx12,
    Gl,
    Cuda,
}

/// A GPU as one interface lists it.
#[derive(Clone, Debug)]
pub(super) struct ListedGpu {
    pub(super) source: Source,
    pub(super) gpu: GpuDevice,
}

impl Source {
    /// The name of the interface in [`GpuApi`](super::GpuApi).
    pub(super) fn api(self) -> &'static str {
        match self {
            Self::Nvml | Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Dx12 => "dx12",
            Self::Gl => "gl",
        }
    }
}

/// A PCI address as it is written here, `0000:3b:00.0`, from the spellings of the drivers; `None` for what is
/// none, or is all zeros, which drivers say of what is on no bus.
pub(super) fn pci_address(text: &str) -> Option<String> {
    let (domain, rest) = text.trim().split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let (domain, bus, device, function) = (number(domain)?, number(bus)?, number(device)?, number(function)?);
    let is_on_a_bus = domain != 0 || bus != 0 || device != 0;
    is_on_a_bus.then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for text in ["00000000:3B:00.0", "0000:3b:00.0", "0:3b:0.0", " 0000:3B:00.0\n"] {
            assert_eq!(pci_address(text).as_deref(), Some("0000:3b:00.0"));
        }
        assert_eq!(pci_address("00010000:00:02.1").as_deref(), Some("10000:00:02.1"));
        for text in ["", "3b:00.0", "0000:00:00.0", "0000:3b:00", "x:y:z.w", "0000:3b:00.0:1", "-1:3b:00.0"] {
            assert_eq!(pci_address(text), None, "{text}");
        }
    }
}
