//! The backends that `--backend` takes, and their default devices.

use std::fmt::{self, Display};

use burn::tensor::Device;
use burn_trainer::environment::{GpuDevice, GpuKind, try_gpus};
use burn_trainer::process::start_device;
use burn_trainer::{Error, Result};
use clap::ValueEnum;

/// What to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Backend {
    /// The CPU
    Flex,
    /// A GPU, through the platform's own interface (Vulkan, Metal, DirectX 12)
    Wgpu,
    /// A GPU, through Vulkan with SPIR-V
    Vulkan,
    /// An NVIDIA GPU
    Cuda,
}

/// The backends for GPUs that the program was built with, the fastest first.
const BUILT_FOR_GPUS: &[Backend] = &[
    #[cfg(feature = "cuda")]
    Backend::Cuda,
    #[cfg(feature = "vulkan")]
    Backend::Vulkan,
    #[cfg(feature = "wgpu")]
    Backend::Wgpu,
];

impl Backend {
    /// The fastest that the program was built for.
    #[must_use]
    pub fn best() -> Self {
        BUILT_FOR_GPUS.first().copied().unwrap_or(Self::Flex)
    }

    /// The name of a GPU's backend in burn's devices (`Cuda(0)`).
    fn gpu_name(self) -> Option<&'static str> {
        match self {
            Self::Flex => None,
            Self::Wgpu => Some("Wgpu"),
            Self::Vulkan => Some("Vulkan"),
            Self::Cuda => Some("Cuda"),
        }
    }

    /// The fastest backend that the program was built for and that reaches a GPU of this machine. Says so
    /// where none does.
    pub(crate) fn of_this_machine() -> Self {
        if Self::best() == Self::Flex {
            return Self::Flex;
        }
        let (built, gpus) = (BUILT_FOR_GPUS.iter(), try_gpus());
        let (software, real): (Vec<_>, Vec<_>) =
            gpus.iter().flatten().partition(|gpu| gpu.kind == Some(GpuKind::Cpu));
        let reaches = |backend: &&Self| {
            let is_of_backend = |device: &String| device.split('(').next() == backend.gpu_name();
            real.iter().any(|gpu| gpu.burn_devices.iter().any(is_of_backend))
        };
        built.clone().find(reaches).copied().unwrap_or_else(|| {
            let names =
                |gpus: &[&GpuDevice]| gpus.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let found = match (gpus.is_none(), real.is_empty(), software.is_empty()) {
                (true, ..) => "a GPU's driver does not answer".to_owned(),
                (_, false, _) => format!("no backend of this program reaches {}", names(&real)),
                (_, _, false) => {
                    format!("there is only {}, which computes on the processor", names(&software))
                }
                _ => "this machine has none, or no driver for it".to_owned(),
            };
            let built = built.map(ToString::to_string).collect::<Vec<_>>().join(", ");
            eprintln!("note: no GPU is used ({found}; built for {built}): the CPU computes");
            Self::Flex
        })
    }

    /// The backend's default device, started.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a backend that the program was not built for, [`Error::Device`] for one that
    /// cannot be used on this machine.
    pub fn device(self) -> Result<Device> {
        let device = match self {
            #[cfg(feature = "flex")]
            Self::Flex => Device::flex(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
            #[allow(unreachable_patterns)]
            _ => return Err(self.not_built()),
        };
        start_device(&device)?;
        Ok(device)
    }

    #[allow(dead_code)] // Every backend is built.
    fn not_built(self) -> Error {
        let reason = format!(
            "this program was not built for {self}; cargo xtask train --backend takes flex, wgpu, vulkan, cuda and \
             auto, and builds what is needed"
        );
        Error::Config { setting: "--backend".to_owned(), reason }
    }
}

/// The name that the flag takes.
impl Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}
