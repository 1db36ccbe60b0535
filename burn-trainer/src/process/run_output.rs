//! Which run a thread works for, while several can be open in a process: what it prints and logs is that
//! run's.
//!
//! The threads of a run are told so where they begin. Those that are not ours (burn's) are told when they
//! call us. Any other thread is taken to work for the open run if there is only one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::progress::progress_mode::ProgressMode;

static OPEN: Mutex<Vec<Weak<RunOutput>>> = Mutex::new(Vec::new());

thread_local! {
    /// The run of this thread. `None`: it was not told.
    static OF_THREAD: RefCell<Option<Weak<RunOutput>>> = const { RefCell::new(None) };
}

/// What is said and logged of an open run.
#[derive(Debug)]
struct RunOutput {
    run_id: String,
    progress: ProgressMode,
    log: Mutex<Option<RunLog>>,
    /// The files that a line has named which is to come once.
    named: Mutex<BTreeSet<PathBuf>>,
}

/// burn's log of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunLog {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// Whether another file has taken its name.
    pub(crate) is_replaced: bool,
}

/// The output of a run, which is open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenOutput(Arc<RunOutput>);

impl OpenOutput {
    pub(crate) fn open(run_id: &str, progress: ProgressMode) -> Self {
        let (run_id, log, named) = (run_id.to_owned(), Mutex::default(), Mutex::default());
        let output = Arc::new(RunOutput { run_id, progress, log, named });
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

/// The runs that this thread works for: the one that it was told, or all that are open.
fn of_this_thread() -> Vec<Arc<RunOutput>> {
    let told = OF_THREAD.try_with(|run| run.borrow().clone()).ok().flatten();
    let runs = told.map_or_else(|| OPEN.lock().clone(), |run| vec![run]);
    runs.iter().filter_map(Weak::upgrade).collect()
}

/// How the run of this thread shows its progress.
pub(crate) fn progress() -> ProgressMode {
    let runs = of_this_thread();
    let first = runs.first().map(|run| run.progress).unwrap_or_default();
    // Where it is not known whose line it is, it is shown if any run shows its lines.
    if runs.iter().any(|other| other.progress != first) { ProgressMode::Auto } else { first }
}

/// A line of this thread: with the id of its run in front of it, while more than one is open.
pub(crate) fn with_run(line: &str) -> String {
    let open = OPEN.lock().iter().filter(|run| run.strong_count() > 0).count();
    match &*of_this_thread() {
        [run] if open > 1 => format!("{}: {line}", run.run_id),
        _ => line.to_owned(),
    }
}

/// Notes that a line of this thread names a file. Returns whether none of its run has done so before. `false`
/// where no run is open: what there was to say of its files was said.
pub(crate) fn note_named(path: &Path) -> bool {
    // All of them are told.
    let first = of_this_thread().iter().filter(|run| run.named.lock().insert(path.to_path_buf())).count();
    first > 0
}

/// Where the events of this thread are logged.
pub(crate) enum EventLog {
    Run(RunLog),
    /// Several runs are open, and it is not known which of them the thread works for.
    Unknown,
    /// No run is open, or it has no log.
    None,
}

/// The log of this thread's run.
pub(crate) fn event_log() -> EventLog {
    match &*of_this_thread() {
        [run] => run.log.lock().clone().map_or(EventLog::None, EventLog::Run),
        [] => EventLog::None,
        _ => EventLog::Unknown,
    }
}

/// Sets the log of this thread's run.
pub(crate) fn set_event_log(log: RunLog) {
    if let [run] = &*of_this_thread() {
        *run.log.lock() = Some(log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_progress_of_the_run_that_it_works_for() {
        let (quiet, plain) =
            (OpenOutput::open("a", ProgressMode::Off), OpenOutput::open("b", ProgressMode::Plain));
        let outer = quiet.enter();
        assert_eq!(progress(), ProgressMode::Off);
        {
            let _inner = plain.enter();
            assert_eq!(progress(), ProgressMode::Plain);
            assert_eq!(with_run("a line"), "b: a line");
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

    #[test]
    fn a_file_is_named_once_in_a_run_whatever_other_runs_begin() {
        let path = Path::new("last/epoch=0-step=1.ckpt");
        let first = OpenOutput::open("first", ProgressMode::Off);
        let of_first = first.enter();
        assert!(note_named(path) && !note_named(path));
        let second = OpenOutput::open("second", ProgressMode::Off);
        assert!(!note_named(path));
        {
            let _of_second = second.enter();
            assert!(note_named(path) && !note_named(path));
        }
        assert!(!note_named(path) && note_named(Path::new("another.ckpt")));
        drop(of_first);
    }
}
