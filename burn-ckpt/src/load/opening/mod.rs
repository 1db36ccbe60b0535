//! Opening a checkpoint: what belongs to its own file, and one that is named by an address.

pub(super) mod address;
pub(super) mod opened_checkpoint;
pub(super) mod repeat;
