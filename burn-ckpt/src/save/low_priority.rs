//! Working at the lowest priority while the training loop continues: computing the digests of a save that
//! is not waited for, and verifying the checkpoints of earlier starts.
//!
//! Both occupy a processor. Training on a GPU leaves all but one processor idle, and they use one of those.
//! Training on all processors keeps its speed, and they take longer.

use std::panic::resume_unwind;
use std::thread;

/// Runs work on a new thread with the lowest priority, and waits for it. Threads that the work starts inherit
/// the priority.
///
/// Each call starts a thread of its own, because a lowered priority cannot be raised again without
/// privileges.
pub(crate) fn at_low_priority<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut work = Some(work);
    let result = thread::scope(|scope| {
        let work = &mut work;
        let thread = thread::Builder::new().name("burn-ckpt-background".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            lower_priority();
            work.take().map(|work| work())
        });
        // If no thread can be started, `work` is still there and runs on this one.
        thread.ok()?.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    match (result, work) {
        (Some(result), _) => result,
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that was taken has a result"),
    }
}

/// Lowers the priority of this thread. Does nothing where the system has no priority for a single thread.
pub(crate) fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::setpriority_process;
        use rustix::thread::gettid;
        // On Linux each thread has a nice value of its own. A failure costs speed only.
        if let Err(error) = setpriority_process(Some(gettid()), NICEST) {
            log::debug!("the checkpoint writer's priority cannot be lowered: {error}");
        }
    }
}

/// The lowest priority that still runs when all processors are busy: about 1.5 % of a processor that another
/// thread of the same session uses.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;
