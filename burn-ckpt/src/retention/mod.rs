//! Which checkpoints stay: rules from scored checkpoints to those that are kept. Changes no file.
//!
//! ```
//! use burn_ckpt::retention::{Candidate, KeepRule, MetricMode, TopK};
//!
//! let best_two = KeepRule::Best(MetricMode::Min, TopK::Count(2));
//! let losses = [0.9, 0.4, 0.5];
//! let candidates: Vec<Candidate> =
//!     (0..).zip(losses).map(|(order, score)| Candidate::new(score, order)).collect();
//! assert_eq!(best_two.kept(&candidates), [1, 2]);
//! ```

mod keep_rule;
pub(crate) mod ledger;
pub(crate) mod shared_ledger;
mod versions;

pub use ledger::SavedCheckpoint;

pub use keep_rule::{Candidate, KeepRule, MetricMode, TopK};
