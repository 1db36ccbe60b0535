//! The writer's thread, and those that it starts, give way to the loop.
//!
//! Hashing and writing a checkpoint takes a processor as long as it lasts. Where one is idle (training on a GPU leaves all
//! but one idle), it is used; where the loop computes on all of them, it goes on as fast as it can, and the checkpoint takes
//! longer. A loop that waits for its checkpoints, and one that has ended, leave the processors to the writer.

/// Has this thread run when no other wants its processor, and now and then all the same. Threads that it starts inherit
/// that. Does nothing where the system has no such thing for a single thread.
pub(crate) fn give_way() {
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

/// The lowest priority there is below real idleness: about 1.5 % of a processor that somebody else wants too.
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;
