//! The mirror of a run's checkpoints: what is sent to an object store beside training, and what a start gets
//! from there.
//!
//! | when | where |
//! |---|---|
//! | before the first step: the lease, and what the disk lacks | `at_start`, `download`, `needed` |
//! | a checkpoint is durable, leads, is deleted; the run ends | `callback` |
//! | what is sent next, and what is not sent any more | `queue` |
//! | sending, on a thread of its own | `worker` |
//! | links and retention, which follow a sent checkpoint | `chores` |
//! | an evaluation is kept after training | `evaluations` |
//!
//! The loop knows nothing of it: the callback puts paths into the queue, and waits at the end of the run.

#[cfg(feature = "mirror")]
mod at_start;
#[cfg(feature = "mirror")]
mod callback;
#[cfg(feature = "mirror")]
mod chores;
#[cfg(feature = "mirror")]
mod download;
#[cfg(all(feature = "mirror", feature = "cli"))]
mod evaluations;
#[cfg(feature = "mirror")]
mod keep;
#[cfg(feature = "mirror")]
mod needed;
mod of_run;
#[cfg(feature = "mirror")]
mod queue;
mod result;
#[cfg(feature = "mirror")]
mod worker;

#[cfg(feature = "mirror")]
pub use at_start::connect_by;
pub(crate) use of_run::MirrorOfRun;
#[cfg(feature = "cli")]
pub(crate) use of_run::send_evaluations;
pub use result::MirrorResult;

/// Whether each further try of this process fails too: the store lacks what a mirror needs, or a newer
/// version of this program has written to the mirror.
#[cfg(feature = "mirror")]
fn is_final(error: &burn_ckpt::Error) -> bool {
    use burn_ckpt::{Error, MirrorFailure};
    matches!(error, Error::NewerFormat { .. } | Error::Mirror { failure: MirrorFailure::Unsupported, .. })
}
