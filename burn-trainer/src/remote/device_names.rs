//! What the names of other machines' devices begin with. The names are [`burn_environment::device_name`]'s.

/// Every device of another machine.
pub(crate) const REMOTE: &str = "remote:";
/// Those that are reached over Iroh.
pub(crate) const IROH: &str = "remote:iroh:";
