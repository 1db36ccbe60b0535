//! The `gpu_devices` list: every GPU of the machine once, whoever reaches it.
//!
//! ```text
//! nvml.rs      NVIDIA's driver library    \
//! adapters.rs  wgpu's adapters (vulkan.rs) |  sightings -> merge.rs -> each GPU once -> used.rs: which of them the
//! cuda.rs      burn's CUDA devices        /                                             run computed on
//! ```
//!
//! The first is always asked, the others with the features of burn's backends. They are asked once in a process, one
//! after the other, and what they load stays loaded: the Vulkan loader crashes when instances come and go on several
//! threads, and burn makes its own when it opens a device. So in a run the others are asked after its devices are open
//! (`probe.rs`).

#[cfg(feature = "wgpu")]
mod adapters;
#[cfg(feature = "cuda")]
mod cuda;
mod merge;
mod names;
mod nvml;
mod used;
#[cfg(feature = "wgpu")]
mod vulkan;

use std::fmt::{self, Display};
use std::panic::catch_unwind;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use merge::{Sighting, merge};
pub use names::device_name;
pub(crate) use used::{UsedDevice, mark_used};

/// One GPU of the machine, or a program that computes as one. What nobody tells of it is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

/// A short line for a message: `llvmpipe (LLVM 15.0.6, 256 bits), cpu, driver llvmpipe Mesa 22.3.6 (LLVM 15.0.6)`.
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

/// The GPUs of this machine, each once: those that NVIDIA's driver lists, and with the features `wgpu` and `cuda` those
/// that burn's backends of these names reach.
///
/// The first call asks the drivers, which can take seconds, and as long as a driver does that hangs; later ones return
/// the same. Nothing is opened on any
/// device. With the feature `wgpu`, let no other thread open a device of burn's for the first time meanwhile: the Vulkan
/// loader does not bear it.
#[must_use]
pub fn gpus() -> Vec<GpuDevice> {
    static FOUND: OnceLock<Vec<GpuDevice>> = OnceLock::new();
    FOUND.get_or_init(|| merge(ENUMERATORS.iter().flat_map(|list| asked(*list)).collect())).clone()
}

/// Asks NVIDIA's library, so that [`gpus`] need not any more. It bears everything that happens beside it.
pub(crate) fn ask_nvml() {
    asked(nvml::sightings);
}

/// Everyone who can list GPUs; what the first one says of a GPU goes before what later ones do. Another vendor's
/// library joins by adding a function here.
const ENUMERATORS: &[fn() -> Vec<Sighting>] = &[
    nvml::sightings,
    #[cfg(feature = "wgpu")]
    adapters::sightings,
    #[cfg(feature = "cuda")]
    cuda::sightings,
];

/// What one of them says. One that panics has seen nothing: the others still have.
fn asked(list: fn() -> Vec<Sighting>) -> Vec<Sighting> {
    catch_unwind(list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_panics_has_seen_nothing() {
        assert!(asked(|| panic!("a broken driver (part of the test)")).is_empty());
    }

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
