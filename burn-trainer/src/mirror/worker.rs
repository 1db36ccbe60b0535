//! The mirror's thread: it sends what is next in the queue, moves the links, deletes what does not stay, and
//! keeps the lease. What fails is tried again after a pause. Nothing of it ends training.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn_ckpt::metrics_log::METRICS_FILE;
use burn_ckpt::mirror::{RunMirror, Store, Writer};
use burn_ckpt::plumbing::{is_there, panic_message};
use burn_ckpt::{Error, RunLayout, chain};
use jiff::SignedDuration;

use super::queue::{Next, Outcome, Queue};
use crate::process::console::warn;

/// The pause after a first error, and the longest one. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often the thread looks whether the lease has to be renewed.
const LEASE_CHECK: Duration = Duration::from_millis(250);
/// The age from which what a killed process has left in the mirror is deleted.
const LEFTOVER_AGE: SignedDuration = SignedDuration::from_hours(1);

/// The mirror on its thread.
pub(super) struct Worker {
    store: Store,
    writer: Writer,
    /// `None` until the store answers.
    mirror: Option<RunMirror>,
    layout: RunLayout,
    queue: Arc<Queue>,
    /// After the next error.
    pause: Duration,
    has_reported: bool,
    has_removed_leftovers: bool,
    /// What was in the mirror, is not any more, and is to be sent again.
    gone: Vec<String>,
}

/// Why the thread ends early.
enum EndsEarly {
    /// The wait at the end of the run is over.
    GivenUp,
    /// Another process has taken the mirror over.
    Lost(Error),
}

type Work<T> = Result<T, EndsEarly>;

impl Worker {
    /// `is_said`: the user knows that the store does not answer.
    pub(super) fn new(
        store: Store,
        writer: Writer,
        mirror: Option<RunMirror>,
        layout: RunLayout,
        queue: Arc<Queue>,
        is_said: bool,
    ) -> Self {
        let (pause, has_reported, has_removed_leftovers) = (FIRST_PAUSE, is_said, false);
        let gone = Vec::new();
        Self { store, writer, mirror, layout, queue, pause, has_reported, has_removed_leftovers, gone }
    }

    /// Works until the run has ended.
    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let error = match worked {
            Ok(Ok(()) | Err(EndsEarly::GivenUp)) => None,
            Ok(Err(EndsEarly::Lost(error))) => {
                let message = chain(&error);
                warn(&format!("{message}. Training continues, and nothing more is sent to the mirror"));
                Some(message)
            }
            Err(panic) => {
                let message = format!("the mirror's thread panicked: {}", panic_message(&*panic));
                warn(&format!("{message}. Training continues, and nothing more is sent to the mirror"));
                Some(message)
            }
        };
        self.queue.finish(error);
    }

    fn work(&mut self) -> Work<()> {
        loop {
            match self.queue.next(LEASE_CHECK) {
                Next::Send(path) => self.send(&path)?,
                Next::KeepLease => self.keep_lease()?,
                Next::End => return self.end(),
                Next::GiveUp => return Err(EndsEarly::GivenUp),
            }
        }
    }

    /// Sends a checkpoint. Where that fails it waits again in the queue, behind what is more important by
    /// then.
    fn send(&mut self, path: &Path) -> Work<()> {
        match self.try_to_send(path) {
            Ok(outcome) => {
                self.pause = FIRST_PAUSE;
                self.queue.done(outcome);
                Ok(())
            }
            Err(error) => {
                // Retention may have deleted it meanwhile, which is not an error.
                if !self.queue.is_wanted() || matches!(is_there(path), Ok(false)) {
                    self.queue.done(Outcome::IsGone);
                    return Ok(());
                }
                let is_of_disk = matches!(&error, Error::Checksum { .. } | Error::Damaged { .. });
                if is_of_disk && self.mirror.is_some() {
                    self.report(&format!("{} is not sent: {}", path.display(), chain(&error)));
                    self.queue.failed(chain(&error));
                    self.queue.done(Outcome::IsGone);
                    return Ok(());
                }
                self.queue.put_back();
                self.pause_after(error)
            }
        }
    }

    fn try_to_send(&mut self, path: &Path) -> Result<Outcome, Error> {
        let (queue, layout) = (Arc::clone(&self.queue), self.layout.clone());
        let mirror = self.opened()?;
        let wanted = |_: u64| match queue.is_wanted() {
            true => Ok(()),
            false => Err(io::Error::other("it is not wanted any more")),
        };
        let sent = mirror.send(&layout, path, &wanted)?;
        mirror.send_links(&layout)?;
        if let Some(keep) = queue.keep() {
            mirror.apply_retention(&keep)?;
        }
        self.remove_leftovers()?;
        Ok(if sent.was_there { Outcome::WasThere } else { Outcome::Sent })
    }

    /// What an earlier process left that was killed while it was sending.
    fn remove_leftovers(&mut self) -> Result<(), Error> {
        if !self.has_removed_leftovers {
            self.opened()?.remove_leftovers(LEFTOVER_AGE)?;
            self.has_removed_leftovers = true;
        }
        Ok(())
    }

    /// The mirror, opened where the store did not answer before.
    fn opened(&mut self) -> Result<&mut RunMirror, Error> {
        let opened = match self.mirror.take() {
            Some(mirror) => mirror,
            None => {
                let mirror = RunMirror::open(&self.store, self.layout.run_id(), &self.writer)?;
                log::info!("the mirror {} can be reached", self.store.address());
                mirror
            }
        };
        Ok(self.mirror.insert(opened))
    }

    fn keep_lease(&mut self) -> Work<()> {
        match self.mirror.as_mut().map_or(Ok(()), RunMirror::keep_lease) {
            Ok(()) => Ok(()),
            Err(error) => self.pause_after(error),
        }
    }

    /// The links and the rest of the log of metrics. Then the lease is given back.
    fn end(&mut self) -> Work<()> {
        let log = self.layout.run_dir().join(METRICS_FILE);
        while self.queue.keep().is_some() {
            match self.try_to_end(&log) {
                Ok(()) => break,
                Err(error) => self.pause_after(error)?,
            }
        }
        if let Err(error) = self.mirror.take().map_or(Ok(()), RunMirror::close) {
            // It ends by itself after its time.
            log::warn!("the lease of the mirror is not given back: {}", chain(&error));
        }
        Ok(())
    }

    fn try_to_end(&mut self, log: &Path) -> Result<(), Error> {
        let (layout, keep) = (self.layout.clone(), self.queue.keep());
        let has_log = is_there(log)?;
        self.send_what_is_gone()?;
        let mirror = self.opened()?;
        mirror.send_links(&layout)?;
        if has_log {
            mirror.send_metrics_log(log)?;
        }
        match keep {
            Some(keep) => mirror.apply_retention(&keep).map(drop),
            None => Ok(()),
        }
    }

    /// Sends again what a former process has deleted that was stopped for longer than its lease.
    fn send_what_is_gone(&mut self) -> Result<(), Error> {
        let gone = self.opened()?.look_again()?;
        self.gone.extend(gone);
        while let Some(name) = self.gone.last().cloned() {
            let (path, layout, queue) =
                (self.layout.checkpoint_dir().join(&name), self.layout.clone(), Arc::clone(&self.queue));
            let wanted = |_: u64| match queue.has_given_up() {
                true => Err(io::Error::other("the wait at the end of the run is over")),
                false => Ok(()),
            };
            if is_there(&path)? {
                match self.opened()?.send(&layout, &path, &wanted) {
                    Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => {
                        self.report(&format!("{} is not sent: {}", path.display(), chain(&error)));
                    }
                    sent => drop(sent?),
                }
            }
            self.gone.pop();
        }
        Ok(())
    }

    /// Notes an error, and waits.
    fn pause_after(&mut self, error: Error) -> Work<()> {
        if matches!(error, Error::MirrorInUse { .. }) && self.mirror.is_some() {
            return Err(EndsEarly::Lost(error));
        }
        let message = chain(&error);
        self.report(&format!("{message}. Training continues, and it is tried again"));
        self.queue.failed(message);
        let has_just_ended = self.queue.pause(self.pause);
        if self.queue.has_given_up() {
            return Err(EndsEarly::GivenUp);
        }
        // The end of the run, which waits, begins with short ones again.
        self.pause = if has_just_ended { FIRST_PAUSE } else { (self.pause * 2).min(MAX_PAUSE) };
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
