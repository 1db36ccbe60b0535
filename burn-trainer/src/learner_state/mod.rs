//! The state of a learner: copies of it for the writer, and a checkpoint's state put back into it.
//!
//! burn keeps a learner's optimizer and scheduler private. `record_capture` gets their records, for
//! `snapshot` and `optimizer_probe`. `optimizer_size` finds out before training how large an optimizer's
//! state will be.

pub(crate) mod float_parameters;
pub(crate) mod keep_alive;
pub(crate) mod learning_rates;
pub(crate) mod optimizer_probe;
pub(crate) mod optimizer_size;
pub(crate) mod recomputation;
pub(crate) mod record_capture;
pub(crate) mod restore;
pub(crate) mod running_statistics;
pub(crate) mod snapshot;
pub(crate) mod synchronous;
pub(crate) mod warm_start;
