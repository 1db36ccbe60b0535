//! The backends that `--backend` takes, and their default devices.

use std::fmt::{self, Display};

use burn::tensor::Device;
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

impl Backend {
    /// The fastest that the program was built for.
    #[must_use]
    pub fn best() -> Self {
        match () {
            () if cfg!(feature = "cuda") => Self::Cuda,
            () if cfg!(feature = "vulkan") => Self::Vulkan,
            () if cfg!(feature = "wgpu") => Self::Wgpu,
            () => Self::Flex,
        }
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
