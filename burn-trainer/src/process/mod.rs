//! The process that trains: its signals, its launcher, its terminal, its device.

#[cfg(feature = "mimalloc")]
pub(crate) mod allocator;
pub(crate) mod console;
pub(crate) mod dashboard;
pub(crate) mod environment_devices;
pub(crate) mod join_with_limit;
pub(crate) mod last_panic;
pub(crate) mod launcher;
pub(crate) mod panic_hook;
pub(crate) mod panic_strategy;
pub(crate) mod progress;
pub(crate) mod run_output;
pub(crate) mod signals;
pub(crate) mod start_device;
pub(crate) mod temporary_root;
#[cfg(feature = "tui")]
mod terminal;
pub(crate) mod verify_progress;

#[cfg(feature = "mimalloc")]
pub use allocator::KeepingAllocator;
pub use console::PlainRenderer;
pub use signals::StopSignal;
#[cfg(unix)]
pub use signals::is_ignored;
pub use start_device::start_device;
