//! The mirror's thread: it sends what is next in the queue, does the chores that follow, and keeps the lease.
//! What fails is tried again after a pause. Nothing of it ends training.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn_ckpt::metrics_log::METRICS_FILE;
use burn_ckpt::mirror::{PathsOnDisk, RunMirror, Store, Writer, forks_in_words};
use burn_ckpt::plumbing::{is_there, panic_message};
use burn_ckpt::{Error, MirrorFailure, RunLayout, chain};
use jiff::Timestamp;

use super::chores::{Chores, FailedChore};
use super::is_final;
use super::queue::{FailedSide, Next, Outcome, Queue, SentFromOutside};
use crate::process::console::warn;
use crate::retry_pause::RetryPause;

/// How often the thread looks whether the lease has to be renewed.
const LEASE_CHECK: Duration = Duration::from_millis(250);

/// The mirror on its thread.
pub(super) struct Worker {
    store: Store,
    writer: Writer,
    /// `None` until the store answers.
    mirror: Option<RunMirror>,
    /// When the run began, as the checkpoints say that were on disk at the start.
    begin: Option<Timestamp>,
    /// The mirror was opened late, and is not one of this run.
    is_unusable: bool,
    has_kept_forks: bool,
    layout: RunLayout,
    queue: Arc<Queue>,
    pause: RetryPause,
    has_reported: bool,
    chores: Chores,
    /// What was in the mirror, is not any more, and is to be sent again.
    gone: Vec<String>,
    outside: SentFromOutside,
}

/// Why the thread ends early.
enum EndsEarly {
    /// The wait at the end of the run is over.
    GivenUp,
    /// Another process has taken the mirror over, or it is another run's; or each further try fails too.
    Lost(Error),
}

type Work<T> = Result<T, EndsEarly>;

impl Worker {
    /// `is_said`: the user knows that the store does not answer.
    pub(super) fn new(
        store: Store,
        writer: Writer,
        mirror: Option<RunMirror>,
        begin: Option<Timestamp>,
        layout: RunLayout,
        queue: Arc<Queue>,
        is_said: bool,
    ) -> Self {
        let (pause, has_reported, chores) = (RetryPause::default(), is_said, Chores::new());
        Self {
            store,
            writer,
            mirror,
            begin,
            is_unusable: false,
            has_kept_forks: false,
            layout,
            queue,
            pause,
            has_reported,
            chores,
            gone: Vec::new(),
            outside: SentFromOutside::default(),
        }
    }

    /// Works until the run has ended.
    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let error = match worked {
            Ok(Ok(()) | Err(EndsEarly::GivenUp)) => None,
            Ok(Err(EndsEarly::Lost(error))) => {
                let message = chain(&error);
                warn(&format!("{message}. Training continues, and nothing more is sent to the mirror"));
                if !matches!(error, Error::MirrorInUse { .. }) {
                    self.give_lease_back();
                }
                Some(message)
            }
            Err(panic) => {
                let message = format!("the mirror's thread panicked: {}", panic_message(&*panic));
                warn(&format!("{message}. Training continues, and nothing more is sent to the mirror"));
                Some(message)
            }
        };
        let is_in_order = error.is_none();
        self.queue.finish(error);
        if is_in_order {
            // Of a thread that was given up, for which the end of the run does not wait.
            self.give_lease_back();
        }
    }

    fn work(&mut self) -> Work<()> {
        loop {
            match self.queue.next(LEASE_CHECK) {
                Next::Send(path) => self.send(&path)?,
                Next::KeepLease => self.keep_lease()?,
                Next::End => return self.end(),
                Next::GiveUp => return Err(EndsEarly::GivenUp),
            }
            if let Some(mirror) = &mut self.mirror {
                let failed = self.chores.work(mirror, &self.layout, &self.queue);
                self.note_chores(failed)?;
            }
        }
    }

    /// Sends a checkpoint. Where the store fails it waits again in the queue, behind what is more important
    /// by then; where its own files fail, behind all others.
    fn send(&mut self, path: &Path) -> Work<()> {
        let (error, failed) = match self.opened().map(drop) {
            Err(error) => (error, FailedSide::Store),
            Ok(()) => match self.try_to_send(path) {
                Ok(outcome) => {
                    self.pause = RetryPause::default();
                    self.queue.done(outcome);
                    self.chores.follow();
                    return Ok(());
                }
                Err(error) => {
                    let failed = self.failed_side(&error);
                    (error, failed)
                }
            },
        };
        // Retention may have deleted it meanwhile, which is not an error.
        if !self.queue.is_wanted() || matches!(is_there(path), Ok(false)) {
            self.queue.done(Outcome::IsGone);
            return Ok(());
        }
        if failed == FailedSide::Store {
            self.queue.put_back();
            return self.pause_after(error, failed);
        }
        let message = chain(&error);
        if matches!(error, Error::Io { .. }) {
            self.queue.put_behind(message);
            return self.pause_after(error, failed);
        }
        warn(&format!("{} is not sent to the mirror {}: {message}", path.display(), self.store.address()));
        self.queue.failed(message.clone());
        self.queue.done(Outcome::Unsendable(message));
        Ok(())
    }

    fn try_to_send(&mut self, path: &Path) -> Result<Outcome, Error> {
        let (queue, layout) = (Arc::clone(&self.queue), self.layout.clone());
        let wanted = |_: u64| match queue.is_wanted() {
            true => Ok(()),
            false => Err(io::Error::other("it is not wanted any more")),
        };
        let sent = self.opened()?.send(&layout, path, &wanted)?;
        self.outside.note(&sent.name, path, &self.queue);
        Ok(if sent.was_there { Outcome::WasThere } else { Outcome::Sent })
    }

    /// Whether an error is one of the store, or of the files on this disk.
    fn failed_side(&self, error: &Error) -> FailedSide {
        match error {
            Error::Mirror { .. } | Error::MirrorInUse { .. } | Error::WrongMirror(_) => FailedSide::Store,
            Error::Damaged { path, .. } | Error::NewerFormat { path, .. }
                if path.starts_with(self.store.address().to_string()) =>
            {
                FailedSide::Store
            }
            _ => FailedSide::Files,
        }
    }

    /// Notes the errors of chores, which are tried again by themselves.
    fn note_chores(&mut self, failed: Vec<FailedChore>) -> Work<()> {
        for FailedChore { error, is_first } in failed {
            if matches!(error, Error::MirrorInUse { .. } | Error::NewerFormat { .. }) {
                return Err(EndsEarly::Lost(error));
            }
            let message = chain(&error);
            let text = format!(
                "the mirror {}: {message}. Checkpoints are sent nevertheless, and it is tried again",
                self.store.address()
            );
            if is_first {
                warn(&text)
            } else {
                log::warn!("{text}")
            }
            self.queue.failed_beside(message);
        }
        Ok(())
    }

    /// The mirror, opened where the store did not answer before. What it has of other histories than the
    /// disk's gets a second name, before the saves of this run take the first one, or retention deletes it.
    fn opened(&mut self) -> Result<&mut RunMirror, Error> {
        let opened = match self.mirror.take() {
            Some(mirror) => mirror,
            None => {
                let mirror = self.open_late()?;
                log::info!("the mirror {} can be reached", self.store.address());
                mirror
            }
        };
        let mirror = self.mirror.insert(opened);
        if !self.has_kept_forks {
            let kept = mirror.keep_forks(&self.queue.history())?;
            self.has_kept_forks = true;
            if let Some(said) = forks_in_words(&kept) {
                warn(&format!("the mirror {}/{} {said}", self.store.address(), mirror.run_id()));
            }
        }
        Ok(mirror)
    }

    /// The mirror, which the start could not read.
    fn open_late(&mut self) -> Result<RunMirror, Error> {
        let checked = self.store.check_is_not_a_run().and_then(|()| {
            let (mirror, run) = RunMirror::open_and_read(&self.store, self.layout.run_id(), &self.writer)?;
            match run.check_is_run_on_disk(self.begin) {
                Ok(()) => Ok(mirror),
                Err(error) => {
                    if let Err(unreleased) = mirror.close() {
                        log::warn!("the lease of the mirror is not given back: {}", chain(&unreleased));
                    }
                    Err(error)
                }
            }
        });
        self.is_unusable = matches!(checked, Err(Error::WrongMirror(_)));
        checked
    }

    fn keep_lease(&mut self) -> Work<()> {
        match self.mirror.as_mut().map_or(Ok(()), RunMirror::keep_lease) {
            Ok(()) => Ok(()),
            Err(error) => self.pause_after(error, FailedSide::Store),
        }
    }

    /// The links and the rest of the log of metrics, which are tried until the end no longer waits. Then,
    /// once, what retention still has to delete, and the lease is given back.
    fn end(&mut self) -> Work<()> {
        let log = self.layout.run_dir().join(METRICS_FILE);
        while self.queue.keep().is_some() {
            match self.try_to_end(&log) {
                Ok(()) => break,
                Err(error) if self.mirror.is_some() && self.failed_side(&error) == FailedSide::Files => {
                    let message = chain(&error);
                    warn(&format!("the mirror {}: {message}", self.store.address()));
                    self.queue.failed_beside(message);
                    break;
                }
                Err(error) => self.pause_after(error, FailedSide::Store)?,
            }
        }
        if let Some(mirror) = &mut self.mirror {
            let failed = self.chores.end(mirror, &self.layout, &self.queue);
            self.note_chores(failed)?;
        }
        self.give_lease_back();
        Ok(())
    }

    fn try_to_end(&mut self, log: &Path) -> Result<(), Error> {
        self.send_what_is_gone()?;
        let layout = self.layout.clone();
        let mirror = self.opened()?;
        let moved = mirror.send_links(&layout);
        let sent = is_there(log).and_then(|has_log| match has_log {
            true => mirror.send_metrics_log(log),
            false => Ok(()),
        });
        let evaluated = mirror.send_evaluations(&layout);
        moved?;
        self.queue.links_are_moved();
        evaluated?;
        sent
    }

    fn give_lease_back(&mut self) {
        if let Err(error) = self.mirror.take().map_or(Ok(()), RunMirror::close) {
            // It ends by itself after its time.
            log::warn!("the lease of the mirror is not given back: {}", chain(&error));
        }
    }

    /// Sends again what a former process has deleted that was stopped for longer than its lease.
    fn send_what_is_gone(&mut self) -> Result<(), Error> {
        let gone = self.opened()?.look_again()?;
        self.gone.extend(gone);
        let paths = PathsOnDisk::find(&self.layout, self.gone.iter().map(String::as_str))?;
        while let Some(name) = self.gone.last() {
            // Of two directories outside of the run's, the later state is in the mirror.
            if let Some(path) = paths.of(name).first()
                && is_there(path)?
            {
                self.send_again(path)?;
            }
            self.gone.pop();
        }
        Ok(())
    }

    /// Sends one of them, unless its files are damaged.
    fn send_again(&mut self, path: &Path) -> Result<(), Error> {
        let (queue, layout) = (Arc::clone(&self.queue), self.layout.clone());
        let wanted = |_: u64| match queue.has_given_up() {
            true => Err(io::Error::other("the wait at the end of the run is over")),
            false => Ok(()),
        };
        match self.opened()?.send(&layout, path, &wanted) {
            Ok(sent) => {
                if !sent.was_there {
                    self.queue.sent_again();
                }
            }
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => {
                self.report(&format!("{} is not sent: {}", path.display(), chain(&error)));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Notes an error, and waits.
    fn pause_after(&mut self, error: Error, failed: FailedSide) -> Work<()> {
        let is_lost = matches!(error, Error::MirrorInUse { .. }) && self.mirror.is_some();
        if self.is_unusable || is_lost || is_final(&error) {
            return Err(EndsEarly::Lost(error));
        }
        let message = chain(&error);
        let is_lasting =
            matches!(error, Error::Mirror { failure: MirrorFailure::Denied | MirrorFailure::NotFound, .. });
        self.report(&match is_lasting {
            true => format!(
                "{message}. Training continues, and what it saves is sent once that is set right, or later by burn-ckpt mirror"
            ),
            false => format!("{message}. Training continues, and it is tried again"),
        });
        self.queue.failed(message);
        if is_lasting && self.queue.has_ended() {
            // It is not set right while the program waits to end.
            return Err(EndsEarly::GivenUp);
        }
        let has_just_ended = self.queue.pause(self.pause.after_error(), failed);
        if self.queue.has_given_up() {
            return Err(EndsEarly::GivenUp);
        }
        if has_just_ended {
            // The end of the run, which waits, begins with short ones again.
            self.pause = RetryPause::default();
        }
        Ok(())
    }

    /// Warns, the first time.
    fn report(&mut self, message: &str) {
        match std::mem::replace(&mut self.has_reported, true) {
            false => warn(&format!("the mirror {}: {message}", self.store.address())),
            true => log::warn!("the mirror {}: {message}", self.store.address()),
        }
    }
}
