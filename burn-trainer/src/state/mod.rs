//! Where a run is, and what happens in it: what everything above speaks of.

pub(crate) mod event;
pub(crate) mod position;
