//! The process that trains: its signals, its launcher, its terminal, its device.

#[cfg(feature = "mimalloc")]
pub(crate) mod allocator;
pub(crate) mod console;
pub(crate) mod launcher;
pub(crate) mod signals;
pub(crate) mod start_device;
pub(crate) mod terminal;

#[cfg(feature = "mimalloc")]
pub use allocator::KeepingAllocator;
pub use console::PlainRenderer;
pub use signals::StopSignal;
pub use start_device::start_device;
