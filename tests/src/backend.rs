//! The backend that the tests train, save and load on: burn's flex, unless [`VARIABLE`] names another that
//! they are built for. `cargo xtask test` runs them on flex and, with the feature `wgpu`, on wgpu.

use ::backend::Backend;
use burn::tensor::Device;
use clap::ValueEnum;

/// The variable that names the backend. Programs that tests start inherit it.
pub const VARIABLE: &str = "SYSTEM_TESTS_BACKEND";

/// The backend's name, as `--backend` takes it.
///
/// # Panics
///
/// When the variable names no backend.
#[must_use]
pub fn name() -> String {
    backend().to_string()
}

/// Its device.
///
/// # Panics
///
/// When the tests are not built for the backend, or it cannot be used on this machine.
#[must_use]
pub fn device() -> Device {
    backend().device().unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the device is the CPU, with burn's backend flex.
///
/// # Panics
///
/// When the variable names no backend.
#[must_use]
pub fn is_flex() -> bool {
    backend() == Backend::Flex
}

fn backend() -> Backend {
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| "flex".to_owned());
    Backend::from_str(&name, false).unwrap_or_else(|error| panic!("{VARIABLE}={name}: {error}"))
}

/// The features that the tests are built with, as cargo's `--features` takes them. Programs are built with
/// them too: others would take the place of those that the tests were built with.
#[must_use]
pub fn features() -> String {
    let all = [
        ("system-tests/wgpu", cfg!(feature = "wgpu")),
        ("system-tests/mirror", cfg!(feature = "mirror")),
        ("system-tests/remote", cfg!(feature = "remote")),
    ];
    all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}
