//! The flags `--backend` and `--device` of the examples, and the devices that they stand for.
//!
//! A program of your own does not need this crate: it names its device, such as `Device::cuda(0)`.

mod args;
mod backend;
mod device;

pub use args::DeviceArgs;
pub use backend::Backend;
