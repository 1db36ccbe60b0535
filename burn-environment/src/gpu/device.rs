//! [`GpuDevice`]: one GPU as the metadata describes it.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// One GPU of the machine, or a program that computes as one. What no interface reports is `None`.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GpuDevice {
    /// Product name, such as `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// Who made it, such as `NVIDIA`.
    pub vendor: Option<String>,
    /// What kind of device it is.
    #[serde(rename = "type")]
    pub kind: Option<GpuKind>,
    /// Memory of the device, in bytes.
    pub memory_bytes: Option<u64>,
    /// Address on the PCI bus: domain, bus, device and function, such as `0000:3b:00.0`.
    pub pci_address: Option<String>,
    /// The driver's identifier of this very device: NVIDIA's, `GPU-` and a UUID, or Vulkan's `deviceUUID`.
    pub uuid: Option<String>,
    /// Name of the driver, such as `NVIDIA` or `llvmpipe`.
    pub driver: Option<String>,
    /// Version of the driver, such as `550.54.15` or `Mesa 22.3.6 (LLVM 15.0.6)`.
    pub driver_version: Option<String>,
    /// The interfaces that it is reached through.
    pub apis: Vec<GpuApi>,
    /// CUDA's compute capability, such as `9.0`.
    pub compute_capability: Option<String>,
    /// The devices of burn that compute on it, by the calls that make them, such as `Cuda(0)`.
    pub burn_devices: Vec<String>,
    /// Whether this run computed on it.
    pub used: bool,
}

/// What kind of device a GPU is.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GpuKind {
    /// A card with memory of its own.
    Discrete,
    /// A part of the processor, mostly with the machine's memory.
    Integrated,
    /// A share of a card, or one that a virtual machine makes up.
    Virtual,
    /// No GPU but a program that computes as one on the processor, as llvmpipe does.
    Cpu,
    /// Something else, or a driver that does not say.
    #[serde(other)]
    Other,
}

/// An interface that a GPU is reached through.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GpuApi {
    /// `vulkan`, `cuda`, `metal`, `dx12` or `gl`.
    pub name: String,
    /// The version that the driver has of it.
    pub version: Option<String>,
}

impl GpuKind {
    /// As it is written in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Cpu => "cpu",
            Self::Other => "other",
        }
    }
}

/// A short line for a message:
/// `llvmpipe (LLVM 15.0.6, 256 bits), cpu, driver llvmpipe Mesa 22.3.6 (LLVM 15.0.6)`.
impl Display for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or("a GPU without a name"))?;
        if let Some(kind) = self.kind {
            write!(f, ", {}", kind.name())?;
        }
        let driver: Vec<&str> =
            [&self.driver, &self.driver_version].into_iter().filter_map(Option::as_deref).collect();
        if driver.is_empty() { Ok(()) } else { write!(f, ", driver {}", driver.join(" ")) }
    }
}

impl Display for GpuApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_later_version_is_another_kind() {
        let read: GpuDevice = serde_json::from_str(r#"{"name": "a", "type": "quantum"}"#).unwrap();
        assert_eq!(read.kind, Some(GpuKind::Other));
        for kind in [GpuKind::Discrete, GpuKind::Integrated, GpuKind::Virtual, GpuKind::Cpu, GpuKind::Other] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn a_line_says_what_is_known() {
        let mut gpu = GpuDevice::default();
        assert_eq!(gpu.to_string(), "a GPU without a name");
        gpu.name = Some("llvmpipe (LLVM 15.0.6, 256 bits)".to_owned());
        gpu.kind = Some(GpuKind::Cpu);
        assert_eq!(gpu.to_string(), "llvmpipe (LLVM 15.0.6, 256 bits), cpu");
        gpu.driver = Some("llvmpipe".to_owned());
        gpu.driver_version = Some("Mesa 22.3.6".to_owned());
        assert_eq!(gpu.to_string(), "llvmpipe (LLVM 15.0.6, 256 bits), cpu, driver llvmpipe Mesa 22.3.6");
    }

    #[test]
    fn the_keys_of_a_gpu_are_written_in_the_documented_order() {
        let value = serde_json::to_value(GpuDevice::default()).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        let documented = [
            "name",
            "vendor",
            "type",
            "memory_bytes",
            "pci_address",
            "uuid",
            "driver",
            "driver_version",
            "apis",
            "compute_capability",
            "burn_devices",
            "used",
        ];
        assert_eq!(keys, documented);
    }
}
