//! Which checkpoints stay.

pub(crate) mod ledger;
pub(crate) mod policy;
