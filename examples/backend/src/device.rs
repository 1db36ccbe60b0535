//! The names that `--device` takes, and the devices they stand for.

use burn::tensor::Device;
use burn_trainer::process::start_device;
use burn_trainer::{Error, Result};

const FORMS: &str =
    "cpu, cpu:1, wgpu:0, vulkan:0, cuda:0, remote:ws://HOST:PORT#INDEX, remote:iroh:ID@IP:PORT#INDEX";

/// A device as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// A device of this machine: the backend's name, and the device's number there.
    Local(String, usize),
    /// A device of another machine.
    #[cfg(feature = "remote")]
    Remote(burn_trainer::remote::RemoteAddress),
}

impl DeviceName {
    /// # Errors
    ///
    /// [`Error::Config`] with the valid names. The address of another machine is not repeated in the error,
    /// because it may contain a password.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.starts_with("remote:") {
            return parse_remote(text);
        }
        let (backend, index) = text.split_once(':').unwrap_or((text, "0"));
        match (backend, index.parse()) {
            ("cpu" | "wgpu" | "vulkan" | "cuda", Ok(index)) => Ok(Self::Local(backend.to_owned(), index)),
            _ => Err(wrong(format!("there is no device {text:?}; names are {FORMS}"))),
        }
    }

    /// Whether it is a device of another machine.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Self::Local(..))
    }

    /// The device of this machine, started.
    pub(crate) fn start(backend: &str, index: usize) -> Result<Device> {
        let device = match backend {
            // burn has one CPU device: several of them share the processor, and each has a batch of its own
            // in every step.
            #[cfg(feature = "flex")]
            "cpu" => Device::flex(),
            #[cfg(feature = "wgpu")]
            "wgpu" => numbered(backend, index, burn::tensor::DeviceType::Wgpu)?,
            #[cfg(feature = "vulkan")]
            "vulkan" => numbered(backend, index, burn::tensor::DeviceType::Vulkan)?,
            #[cfg(feature = "cuda")]
            "cuda" => Device::cuda(index),
            _ => {
                let reason = format!(
                    "this program was not built for {backend}:{index}; cargo xtask train --device builds what is needed"
                );
                return Err(wrong(reason));
            }
        };
        start_device(&device)?;
        Ok(device)
    }
}

#[cfg(feature = "wgpu")]
fn numbered(backend: &str, index: usize, kind: burn::tensor::DeviceType) -> Result<Device> {
    let all: Vec<Device> = Device::enumerate(kind).iter().cloned().collect();
    all.get(index).cloned().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(burn_trainer::environment::device_name).collect();
        let count = names.len();
        let reason = format!(
            "there is no {backend}:{index}; burn finds {count}, counted from 0: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
        wrong(reason)
    })
}

#[cfg(feature = "remote")]
fn parse_remote(text: &str) -> Result<DeviceName> {
    text.parse().map(DeviceName::Remote).map_err(wrong)
}

#[cfg(not(feature = "remote"))]
fn parse_remote(_: &str) -> Result<DeviceName> {
    let reason = "this program was not built for devices of other machines; cargo xtask train --device builds what is \
                  needed, and cargo build does with the feature remote";
    Err(wrong(reason.to_owned()))
}

pub(crate) fn wrong(reason: String) -> Error {
    Error::Config { setting: "--device".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_of_this_machine_have_a_number() {
        for (text, backend, index) in [("cpu", "cpu", 0), ("cpu:1", "cpu", 1), ("cuda:3", "cuda", 3)] {
            assert_eq!(DeviceName::parse(text).unwrap(), DeviceName::Local(backend.to_owned(), index));
        }
        for text in ["", "tpu", "cpu:", "cpu:x", "cuda:-1", "ws://host:1"] {
            assert!(DeviceName::parse(text).unwrap_err().to_string().contains("remote:ws://"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_another_machines_name_is_said_without_it() {
        let error = DeviceName::parse("remote:ws://me:hunter2@host:1").unwrap_err().to_string();
        assert!(error.starts_with("--device") && !error.contains("hunter2"), "{error}");
    }
}
