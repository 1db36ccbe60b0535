//! The prefixes of the names that [`burn_environment::device_name`] gives devices of other machines.

/// Every device of another machine.
pub(crate) const REMOTE: &str = "remote:";
/// A device that is reached over Iroh.
pub(crate) const IROH: &str = "remote:iroh:";
