//! The flag `--backend` of the examples, and the device that it stands for.
//!
//! A program of your own needs none of this: it names the device that it is for, such as `Device::cuda(0)`.

use burn::tensor::Device;
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
    /// The backend's default device, started.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a backend that the program was not built for.
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
        Ok(device)
    }

    #[allow(dead_code)]
    fn not_built(self) -> Error {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let reason = format!(
            "this program was not built for {name:?}; cargo xtask train --backend takes flex, wgpu, vulkan, cuda and \
             auto, and builds what is needed"
        );
        Error::Config { setting: "--backend".to_owned(), reason }
    }
}
