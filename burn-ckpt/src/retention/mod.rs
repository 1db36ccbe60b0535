//! Which checkpoints stay: pure rules from scored checkpoints to those to remove.

pub(crate) mod ledger;
mod policy;

pub use policy::{Candidate, KeepRule, MetricMode, TopK};
