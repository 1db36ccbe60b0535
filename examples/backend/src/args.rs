//! The flags of a training program that say where it computes: `--backend`, `--device`, `--optimizer-on`,
//! `--token-file`.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn::train::MultiDeviceOptim;
use burn_trainer::Result;
use clap::{Args, ValueEnum};

use crate::backend::Backend;
use crate::device::{DeviceName, wrong};

/// Where to compute.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// What to compute on, as far as the program was built for it. Without this a GPU that it was built for
    /// and that this machine has, else the CPU
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// A device to train on, in place of the backend's default one: cpu, wgpu:0, cuda:0,
    /// remote:ws://HOST:PORT, ..; given several times, each has a batch of its own in every step
    #[arg(long, value_name = "DEV")]
    device: Vec<String>,
    /// Where the optimizer works with several devices
    #[arg(long, value_enum, default_value = "first")]
    optimizer_on: OptimizerOn,
    /// File with the token that the servers of remote devices ask for; else the variable BURN_REMOTE_TOKEN
    /// has it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Where the optimizer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerOn {
    /// On the first device
    First,
    /// On all of them, each with a part of the parameters
    All,
}

impl DeviceArgs {
    /// The devices, started. The first one has the model. When the program was restarted after a lost device,
    /// devices that do not answer are skipped with a warning.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](burn_trainer::Error::Config) for an invalid name, or one that the program was not
    /// built for; [`Error::Device`](burn_trainer::Error::Device) and
    /// [`Error::RemoteDevice`](burn_trainer::Error::RemoteDevice) for a device that cannot be used.
    pub fn devices(&self) -> Result<Vec<Device>> {
        if self.device.is_empty() {
            return Ok(vec![self.backend.unwrap_or_else(Backend::of_this_machine).device()?]);
        }
        let names = self.device.iter().map(|name| DeviceName::parse(name)).collect::<Result<Vec<_>>>()?;
        for (position, name) in names.iter().enumerate() {
            // Two batches on one device would be computed one after the other.
            if name.is_remote() && names[..position].contains(name) {
                return Err(wrong(format!("{} is given twice", self.device[position])));
            }
        }
        open(&names, self.token_file.as_deref())
    }

    /// Where the optimizer works with several devices.
    #[must_use]
    pub fn optimizer_placement(&self) -> MultiDeviceOptim {
        match self.optimizer_on {
            OptimizerOn::First => MultiDeviceOptim::OptimMainDevice,
            OptimizerOn::All => MultiDeviceOptim::OptimSharded,
        }
    }
}

#[cfg(not(feature = "remote"))]
fn open(names: &[DeviceName], _: Option<&Path>) -> Result<Vec<Device>> {
    names.iter().map(|DeviceName::Local(backend, index)| DeviceName::start(backend, *index)).collect()
}

#[cfg(feature = "remote")]
fn open(names: &[DeviceName], token_file: Option<&Path>) -> Result<Vec<Device>> {
    use burn_trainer::remote::{Token, connect};
    use burn_trainer::{Error, cli};
    let token = Token::from_file_or_env(token_file)?;
    let remote: Vec<_> = names
        .iter()
        .filter_map(|name| match name {
            DeviceName::Remote(address) => Some(address.clone()),
            DeviceName::Local(..) => None,
        })
        .collect();
    let mut connected = connect(&remote, token.as_ref(), cli::is_restart())?.into_iter();
    let mut devices = Vec::with_capacity(names.len());
    for name in names {
        match name {
            DeviceName::Local(backend, index) => devices.push(DeviceName::start(backend, *index)?),
            DeviceName::Remote(_) => devices.extend(connected.next().flatten()),
        }
    }
    match devices.is_empty() {
        false => Ok(devices),
        // `connect` has warned of each device, with the reason.
        true => Err(Error::RemoteDevice {
            device: remote.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            reason: "no device of the run can be reached".to_owned(),
            is_there: false,
        }),
    }
}
