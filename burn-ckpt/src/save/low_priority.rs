//! Saves that nobody waits for give way to the loop.
//!
//! Hashing and writing a checkpoint takes a processor as long as it lasts. Where one is idle (training on a GPU leaves all
//! but one idle), it is used; where the loop computes on all of them, it goes on as fast as it can, and the checkpoint takes
//! longer. A loop that waits for its checkpoints leaves the processors to them.

use std::panic::resume_unwind;
use std::thread;

/// Does work on a thread that runs when no other wants its processor, and now and then all the same; so do the threads that
/// it starts. (A pool of threads that is made when it is first used would stay so: those that compute, training has made by
/// its first save.) A thread of its own for each piece of work, as a priority that was lowered cannot be raised again without
/// privileges.
pub(crate) fn giving_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut work = Some(work);
    let elsewhere = thread::scope(|scope| {
        let work = &mut work;
        let thread = thread::Builder::new().name("burn-ckpt-background".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            give_way();
            work.take().map(|work| work())
        });
        // Where the system gives no thread, the work is still there.
        thread.ok()?.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    match (elsewhere, work) {
        (Some(result), _) => result,
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that was taken has a result"),
    }
}

/// Does nothing where the system has no priority for a single thread.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::setpriority_process;
        use rustix::thread::gettid;
        // For Linux a thread has a nice value of its own. That it cannot be had costs speed and nothing else.
        if let Err(error) = setpriority_process(Some(gettid()), NICEST) {
            log::debug!("the checkpoint writer's priority cannot be lowered: {error}");
        }
    }
}

/// The lowest priority there is above real idleness: about 1.5 % of a processor that another thread of the same session
/// wants too.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;
