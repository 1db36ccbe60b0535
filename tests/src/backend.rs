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

/// What cargo is given to build programs as the tests are built: others would take their place.
#[must_use]
pub fn features() -> Vec<String> {
    let all = [
        ("wgpu", cfg!(feature = "wgpu")),
        ("mirror", cfg!(feature = "mirror")),
        ("remote", cfg!(feature = "remote")),
    ];
    let on: Vec<String> =
        all.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| format!("system-tests/{name}")).collect();
    if on.is_empty() { Vec::new() } else { vec!["--features".to_owned(), on.join(",")] }
}
