//! Which run a thread works for, while several can be open in a process: what it prints and logs is that
//! run's.
//!
//! The threads of a run are told so where they begin. Those that are not ours (burn's) are told when they
//! call us. Any other thread is taken to work for the open run if there is only one.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::progress::progress_mode::ProgressMode;

/// The runs that are open.
static OPEN: Mutex<Vec<Weak<RunOutput>>> = Mutex::new(Vec::new());

thread_local! {
    /// The run of this thread. `None`: it was not told.
    static OF_THREAD: RefCell<Option<Weak<RunOutput>>> = const { RefCell::new(None) };
}

/// What is said and logged of an open run.
#[derive(Debug)]
struct RunOutput {
    progress: ProgressMode,
}

/// The output of a run, which is open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenOutput(Arc<RunOutput>);

impl OpenOutput {
    pub(crate) fn open(progress: ProgressMode) -> Self {
        let output = Arc::new(RunOutput { progress });
        let mut open = OPEN.lock();
        open.retain(|run| run.strong_count() > 0);
        open.push(Arc::downgrade(&output));
        Self(output)
    }

    /// For the threads of the run.
    pub(crate) fn handle(&self) -> OutputHandle {
        OutputHandle(Some(Arc::downgrade(&self.0)))
    }

    /// This thread works for the run until the result is dropped.
    pub(crate) fn enter(&self) -> Entered {
        self.handle().enter()
    }
}

/// Names the run of a thread. It does not keep the run open.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputHandle(Option<Weak<RunOutput>>);

impl OutputHandle {
    /// That of this thread, for a thread that it starts.
    pub(crate) fn of_this_thread() -> Self {
        Self(OF_THREAD.with_borrow(Clone::clone))
    }

    /// This thread works for the run until the result is dropped.
    pub(crate) fn enter(&self) -> Entered {
        Entered(OF_THREAD.replace(self.0.clone()))
    }

    /// This thread works for the run, from its begin to its end.
    pub(crate) fn set_for_thread(&self) {
        OF_THREAD.set(self.0.clone());
    }
}

/// A thread that works for a run for a while.
#[must_use]
pub(crate) struct Entered(Option<Weak<RunOutput>>);

impl Drop for Entered {
    fn drop(&mut self) {
        // The thread may be at its end.
        let _ = OF_THREAD.try_with(|run| run.replace(self.0.take()));
    }
}

/// How the run of this thread shows its progress.
pub(crate) fn progress() -> ProgressMode {
    let told = OF_THREAD.try_with(|run| run.borrow().clone()).ok().flatten();
    let open = match told {
        Some(run) => vec![run],
        None => OPEN.lock().clone(),
    };
    let mut open = open.iter().filter_map(Weak::upgrade).map(|run| run.progress);
    let first = open.next().unwrap_or_default();
    // Where it is not known whose line it is, it is shown if any run shows its lines.
    if open.any(|other| other != first) { ProgressMode::Auto } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_progress_of_the_run_that_it_works_for() {
        let (quiet, plain) = (OpenOutput::open(ProgressMode::Off), OpenOutput::open(ProgressMode::Plain));
        let outer = quiet.enter();
        assert_eq!(progress(), ProgressMode::Off);
        {
            let _inner = plain.enter();
            assert_eq!(progress(), ProgressMode::Plain);
            let handle = OutputHandle::of_this_thread();
            let started = move || {
                handle.set_for_thread();
                progress()
            };
            assert_eq!(std::thread::spawn(started).join().unwrap(), ProgressMode::Plain);
        }
        assert_eq!(progress(), ProgressMode::Off);
        drop(quiet);
        assert_eq!(progress(), ProgressMode::Auto, "the run of this thread is closed: it is not another's");
        drop(outer);
    }
}
