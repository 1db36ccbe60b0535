//! burn's dashboard while it is drawn. It belongs to the process, as the terminal does: every thread can
//! close it.

use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger;
use burn::train::metric::{MetricAttributes, MetricDefinition, MetricId};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn_ckpt::plumbing::panic_message;
use parking_lot::Mutex;

#[cfg(unix)]
use super::terminal_signals::{self, WaysBack};
use super::{Ended, captured_output};
use crate::process::console::{say, say_what_was_held_back};
use crate::process::panic_hook;
use crate::process::terminal;

/// The name of burn's thread that draws.
const DRAWING_THREAD: &str = "train-renderer";
/// The message of its panic when the user chose to end the program.
const KILLED: &str = "Killing training from user input.";
/// The exit status of a program that the user ended on the dashboard: that of ctrl-c.
const KILLED_STATUS: i32 = 130;
/// How long burn's thread may take to begin, and to end.
const LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(1);

type PanicHook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send>;

/// burn's side of the dashboard, and the panic hook from before.
struct Drawn {
    burns: TuiMetricsRendererWrapper,
    hook: Arc<PanicHook>,
}

static DRAWN: Mutex<Option<Drawn>> = Mutex::new(None);
/// Whether there is a dashboard, for a thread that must not wait for the lock.
static IS_DRAWN: AtomicBool = AtomicBool::new(false);
/// Whether a panic has taken the terminal from the dashboard.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);
/// Why a panic takes it. It is set before.
static TAKEN_BY: Mutex<Option<Ended>> = Mutex::new(None);
/// Whether the process was stopped while it was drawn.
static SUSPENDED: AtomicBool = AtomicBool::new(false);

/// The dashboard of a run. Dropping it closes the dashboard.
pub(crate) struct Dashboard {
    /// burn resets the interrupter that its dashboard has when training ends, which would forget why the run
    /// was stopped. So the dashboard has one of its own, for its key `q`.
    own: Interrupter,
    is_stop_taken: bool,
}

impl Dashboard {
    /// Draws the dashboard of a run with some epochs done. The error says why that is not possible.
    pub(crate) fn open(completed: usize) -> Result<Self, String> {
        let mut drawn = DRAWN.lock();
        if drawn.is_some() {
            return Err("another run of this process has it".to_owned());
        }
        terminal::check()?;
        #[cfg(unix)]
        let may_suspend = terminal_signals::watch(WaysBack { leave, suspend, is_drawn });
        #[cfg(not(unix))]
        let may_suspend = false;
        IS_TAKEN.store(false, Ordering::SeqCst);
        *TAKEN_BY.lock() = None;
        SUSPENDED.store(false, Ordering::SeqCst);
        IS_DRAWN.store(true, Ordering::SeqCst);
        if let Err(error) = captured_output::begin() {
            log::warn!("what the program prints will be on the dashboard: {error}");
        }
        let replacing = panic_hook::replacing();
        let hook = Arc::new(panic::take_hook());
        set_hook(&hook);
        let own = Interrupter::new();
        let mut burns = TuiMetricsRendererWrapper::new(own.clone(), (completed > 0).then_some(completed));
        await_begin(&mut burns);
        // burn has put a hook above. It would leave the screen while its thread draws.
        drop(panic::take_hook());
        set_hook(&hook);
        drop(replacing);
        *drawn = Some(Drawn { burns, hook });
        drop(drawn);
        let failure = TAKEN_BY.lock().take_if(|ended| matches!(ended, Ended::Failed(_)));
        if let Some(Ended::Failed(reason)) = failure {
            close();
            return Err(reason);
        }
        terminal::enable_signal_keys(may_suspend);
        Ok(Self { own, is_stop_taken: false })
    }

    /// Passes an event to burn.
    pub(crate) fn draw(&mut self, event: impl FnOnce(&mut dyn MetricsRenderer)) {
        if let Some(drawn) = &mut *DRAWN.lock() {
            event(&mut drawn.burns);
        }
    }

    /// Whether it is drawn no longer, and why.
    pub(crate) fn has_ended(&self) -> Option<Ended> {
        if SUSPENDED.load(Ordering::SeqCst) {
            // Not before the terminal is given back: what is printed until then goes with the dashboard.
            return (!IS_DRAWN.load(Ordering::SeqCst)).then_some(Ended::Suspended);
        }
        // burn's thread restores the terminal when it cannot draw.
        let is_gone =
            IS_TAKEN.load(Ordering::SeqCst) || captured_output::is_lost() || !terminal::is_drawn_on();
        let unknown = || Ended::Failed("the terminal cannot be drawn on".to_owned());
        is_gone.then(|| TAKEN_BY.lock().take().unwrap_or_else(unknown))
    }

    /// The stop that the user asked for with `q`, once: with burn's reason.
    pub(crate) fn take_stop(&mut self) -> Option<Option<String>> {
        let is_new = self.own.should_stop() && !self.is_stop_taken;
        self.is_stop_taken |= is_new;
        is_new.then(|| self.own.get_message())
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        close();
    }
}

/// Closes the dashboard, if there is one, and prints what was held back. burn's thread is waited for, for a
/// limited time.
pub(crate) fn close() {
    let drawn = DRAWN.try_lock_for(LIMIT).and_then(|mut drawn| drawn.take());
    let Some(Drawn { burns, hook }) = drawn else {
        // The program may have set one up itself.
        if terminal::is_drawn_on() {
            terminal::leave_dashboard();
            terminal::reconnect_output();
        }
        return say_what_was_held_back();
    };
    let (done, closed) = channel();
    // On a thread of its own, since burn's does not end for a thread that panics, which cannot change the
    // hook either.
    let close = move || {
        drop(burns);
        let _replacing = panic_hook::replacing();
        drop(panic::take_hook());
        if let Some(hook) = Arc::into_inner(hook) {
            panic::set_hook(hook);
        }
        let _ = done.send(());
    };
    let started = thread::Builder::new().name("burn-trainer-dashboard".to_owned()).spawn(close);
    let is_closed = started.is_ok() && closed.recv_timeout(LIMIT).is_ok();
    if !is_closed || terminal::is_drawn_on() {
        terminal::leave_dashboard();
    }
    terminal::reconnect_output();
    IS_DRAWN.store(false, Ordering::SeqCst);
    say_what_was_held_back();
}

/// Restores the terminal when the process ends now. The dashboard's thread is not waited for, so standard
/// output stays lost.
pub(crate) fn leave() {
    if IS_DRAWN.load(Ordering::SeqCst) || terminal::is_drawn_on() {
        terminal::leave_dashboard();
        // Standard error may be a pipe that is not read.
        let (done, said) = channel();
        let say = move || {
            say_what_was_held_back();
            let _ = done.send(());
        };
        if thread::Builder::new().name("burn-trainer-last-words".to_owned()).spawn(say).is_ok() {
            let _ = said.recv_timeout(LIMIT);
        }
    }
}

#[cfg(unix)]
fn is_drawn() -> bool {
    IS_DRAWN.load(Ordering::SeqCst)
}

/// Closes the dashboard before the process is stopped. When it is continued, the terminal may be another
/// program's, so it is not drawn again.
#[cfg(unix)]
fn suspend() {
    if IS_DRAWN.load(Ordering::SeqCst) {
        SUSPENDED.store(true, Ordering::SeqCst);
        close();
    }
}

/// Shows a signal among the numbers of the dashboard, where lines are held back.
pub(crate) fn show_signal(name: &str) {
    if let Some(mut drawn) = DRAWN.try_lock_for(LIMIT)
        && let Some(drawn) = &mut *drawn
    {
        drawn.burns.log_event_training(format!("{name}: saving"));
    }
}

fn set_hook(hook: &Arc<PanicHook>) {
    let hook = Arc::clone(hook);
    panic::set_hook(Box::new(move |panic| at_panic(panic, &hook)));
}

/// Waits until burn's thread handles events. It has set the terminal's mode and its panic hook then. The
/// first of two definitions with one id is dropped when the second is handled. burn shows neither.
fn await_begin(burns: &mut TuiMetricsRendererWrapper) {
    let mut first: Weak<String> = Weak::new();
    for is_first in [true, false] {
        let name = Arc::new(String::new());
        if is_first {
            first = Arc::downgrade(&name);
        }
        burns.register_metric(MetricDefinition {
            metric_id: MetricId::new(Arc::new("burn-trainer".to_owned())),
            name,
            description: None,
            attributes: MetricAttributes::None,
        });
    }
    let begun = Instant::now();
    while first.strong_count() > 0 && begun.elapsed() < LIMIT {
        thread::sleep(POLL);
    }
}

/// The panic hook while there is a dashboard. No message is printed into it.
fn at_panic(panic: &PanicHookInfo<'_>, hook: &PanicHook) {
    if !IS_DRAWN.load(Ordering::SeqCst) {
        return hook(panic);
    }
    let is_burns = thread::current().name() == Some(DRAWING_THREAD);
    let message = panic_message(panic.payload());
    if is_burns && message == KILLED {
        leave();
        say("ended at once from the dashboard: the newest checkpoint stands");
        end_process();
    }
    let has_failed = is_burns && cfg!(panic = "unwind");
    // The loop may see that the terminal is left before all of that is done.
    *TAKEN_BY.lock() = Some(if has_failed { Ended::Failed(message) } else { Ended::GaveWay });
    terminal::leave_dashboard();
    IS_TAKEN.store(true, Ordering::SeqCst);
    if has_failed {
        return;
    }
    say_what_was_held_back();
    hook(panic);
}

/// Ends the process without destructors, as a second ctrl-c does.
fn end_process() -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(KILLED_STATUS);
    #[cfg(not(unix))]
    std::process::exit(KILLED_STATUS)
}
