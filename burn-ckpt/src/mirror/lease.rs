//! The lease of a run's mirror: one writer at a time.
//!
//! It is a small object, which is changed by conditional writes alone. A writer renews it while it works.
//! When it was not renewed for its whole time, another writer takes it over, with the next *term*. That time
//! counts from the renewal, or from when the other writer has seen it, if the holder's clock is ahead.
//!
//! Nothing in the mirror depends on clocks that agree. Content has the term in its name, and commit objects
//! are conditional writes. So a writer that was stopped for an hour, and continues after it has lost the
//! lease, replaces nothing: its next check of the lease fails with an error that names the new holder.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::chain::chain;
use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::format::container::bounded_json::parse;
use crate::mirror::object_names::lease;
use crate::mirror::store::{Store, Version};
use crate::mirror::writer::Writer;

const FORMAT: &str = "burn-ckpt mirror lease";
const VERSION: u32 = 1;
const MAX_LEASE_BYTES: u64 = 16 * 1024;
const MAX_LEASE_VALUES: usize = 100;
/// After what part of its time a lease is renewed.
const RENEW_AFTER: i32 = 3;
/// After what part of its time a renewal that has failed is tried again.
const RETRY_AFTER: i32 = 24;
/// How often a lease is read that others change at the same time.
const ATTEMPTS: u32 = 8;
/// The pause after the first of them. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// What a store without conditional writes means, and what to do.
const ADVICE: &str =
    "so two processes could write to this run: take a newer version of its server, or another store";

/// What the object has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    format: String,
    version: u32,
    /// Counts the holders. It never becomes less, so the object stays when a lease is given back.
    term: u64,
    /// `None` once the lease is given back.
    holder: Option<String>,
    /// The holder's number.
    token: String,
    renewed: Timestamp,
    timeout_seconds: i64,
}

impl Record {
    fn ends(&self) -> Timestamp {
        self.ends_after(self.renewed)
    }

    /// When it ends for another writer. The holder's clock can be ahead: it was renewed at the latest when it
    /// was seen.
    fn ends_for(&self, other: &Writer, key: &str) -> Timestamp {
        let Self { term, token, renewed, .. } = self;
        let seen = other.first_seen(&format!("{key} {term} {token} {renewed}"));
        self.ends_after(seen.min(*renewed))
    }

    fn ends_after(&self, renewed: Timestamp) -> Timestamp {
        let timeout = SignedDuration::from_secs(self.timeout_seconds.max(0));
        renewed.checked_add(timeout).unwrap_or(Timestamp::MAX)
    }
}

/// A lease that this process holds, as far as it knows.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Store,
    key: String,
    run_id: String,
    writer: Writer,
    record: Record,
    version: Version,
    /// When a renewal has failed, since the last one that has not.
    failed: Option<Timestamp>,
}

impl Lease {
    /// Takes the lease of a run. `least_term` looks for one that is larger than each term of which there is
    /// content, where the lease itself does not say it.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`] when another writer holds it.
    pub(crate) fn acquire(
        store: &Store,
        run_id: &str,
        writer: &Writer,
        least_term: &dyn Fn() -> Result<u64>,
    ) -> Result<Self> {
        let key = lease(run_id);
        for attempt in 0..ATTEMPTS {
            pause_before(attempt);
            let there = read(store, &key)?;
            let term = match &there {
                None => least_term()?,
                Some((Some(record), _)) => {
                    // A lease of this writer: the answer to an earlier write of it was lost.
                    let is_own = record.token == token(writer);
                    let ends = record.ends_for(writer, &key);
                    if record.holder.is_some() && !is_own && writer.now() < ends {
                        return Err(in_use(store, run_id, record, ends));
                    }
                    record.term.saturating_add(1)
                }
                // One that cannot be read: there is no other sign of its term than the content.
                Some((None, _)) => least_term()?,
            };
            let record = Record {
                format: FORMAT.to_owned(),
                version: VERSION,
                term,
                holder: Some(writer.name().to_owned()),
                token: token(writer),
                renewed: writer.now(),
                timeout_seconds: writer.timeout().as_secs(),
            };
            let json = to_json(&record)?;
            let written = match &there {
                // Not the bytes of the renewal that follows: a version can be a digest of them.
                None => store.put_new(&key, &[&json[..], b"\n"].concat()),
                Some((_, version)) => store.replace(&key, &json, version),
            };
            let written = written.map_err(with_advice)?;
            // Read back: a lease that a faulty store has cut off would be taken over while it is held.
            if written.is_some()
                && let Some((Some(found), version)) = read(store, &key)?
                && found == record
            {
                let (store, run_id, writer) = (store.clone(), run_id.to_owned(), writer.clone());
                let mut lease = Self { store, key, run_id, writer, record, version, failed: None };
                return match lease.check_conditions(there.map(|(_, version)| version)) {
                    Ok(()) => Ok(lease),
                    Err(error) => Err(lease.release_after(error)),
                };
            }
        }
        let reason = "other writers change the lease all the time: try again".to_owned();
        Err(store.failure("take", &key, MirrorFailure::Conflict, reason))
    }

    /// Counts the holders.
    pub(crate) fn term(&self) -> u64 {
        self.record.term
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// A store without conditional writes would give the lease to two writers, or fail when it is renewed.
    /// Where there was no lease `before`, it is replaced once, as each renewal does. And what was just done
    /// must fail if it is done again.
    fn check_conditions(&mut self, before: Option<Version>) -> Result<()> {
        // Other bytes of the same meaning: those that are there would be taken for an answer that was lost.
        let other = [to_json(&self.record)?, b"\n\n".to_vec()].concat();
        // A store that fails does not ignore anything.
        let is_done = |written: Result<Option<Version>>| matches!(written, Ok(Some(_)));
        let before = match before {
            Some(before) => before,
            None if is_done(self.store.put_new(&self.key, &other)) => return Err(self.ignores_conditions()),
            None => {
                let created = self.version.clone();
                self.renew().map_err(with_advice)?;
                created
            }
        };
        match is_done(self.store.replace(&self.key, &other, &before)) {
            true => Err(self.ignores_conditions()),
            false => Ok(()),
        }
    }

    fn ignores_conditions(&self) -> Error {
        let reason =
            format!("the store ignores the conditions of writes (If-None-Match, If-Match), {ADVICE}");
        self.store.failure("take", &self.key, MirrorFailure::Unsupported, reason)
    }

    /// Renews the lease once a third of its time is over. A renewal that fails is tried again, and is an
    /// error once the lease has ended.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`] when another writer has it by now.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let now = self.writer.now();
        // What was in the future when the clock was set back is due: others see this machine's new time.
        let is_early = |since: Timestamp, part: i32| {
            let elapsed = now.duration_since(since);
            !elapsed.is_negative() && elapsed < self.writer.timeout() / part
        };
        if is_early(self.record.renewed, RENEW_AFTER)
            || self.failed.is_some_and(|failed| now < self.record.ends() && is_early(failed, RETRY_AFTER))
        {
            return Ok(());
        }
        match self.renew() {
            Ok(()) => {
                self.failed = None;
                Ok(())
            }
            Err(error)
                if !matches!(error, Error::MirrorInUse { .. }) && self.writer.now() < self.record.ends() =>
            {
                self.failed = Some(self.writer.now());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Renews the lease, and so finds out whether this writer still holds it.
    ///
    /// # Errors
    ///
    /// As for [`Lease::keep`].
    pub(crate) fn renew(&mut self) -> Result<()> {
        let record = Record { renewed: self.writer.now(), ..self.record.clone() };
        self.write(record)
    }

    /// Gives the lease back: the next writer need not wait.
    ///
    /// # Errors
    ///
    /// As for [`Lease::keep`].
    pub(crate) fn release(mut self) -> Result<()> {
        self.give_back()
    }

    /// The same after an error, which is the one that is reported. What prevents it is added.
    pub(crate) fn release_after(mut self, mut error: Error) -> Error {
        let released = match self.give_back() {
            // As nothing can replace it, no other writer has it. The next start need not wait for its end.
            Err(Error::Mirror { failure: MirrorFailure::Unsupported, .. }) => self.store.delete(&self.key),
            released => released,
        };
        let Err(unreleased) = released else { return error };
        let text = format!("the lease is not given back, and ends by itself: {}", chain(&unreleased));
        match &mut error {
            Error::Mirror { reason, .. } => *reason += &format!("; {text}"),
            _ => log::warn!("{text}"),
        }
        error
    }

    /// Removes the lease of a run of which nothing else is there.
    ///
    /// # Errors
    ///
    /// As for [`Lease::keep`].
    pub(crate) fn remove(mut self) -> Result<()> {
        self.renew()?;
        self.store.delete(&self.key)
    }

    fn give_back(&mut self) -> Result<()> {
        let record = Record { holder: None, ..self.record.clone() };
        self.write(record)
    }

    fn write(&mut self, record: Record) -> Result<()> {
        let json = to_json(&record)?;
        for attempt in 0..ATTEMPTS {
            pause_before(attempt);
            let is_written = self.store.replace(&self.key, &json, &self.version)?.is_some();
            match read(&self.store, &self.key)? {
                Some((Some(there), version)) if there == record => {
                    (self.record, self.version) = (record, version);
                    return Ok(());
                }
                // An earlier write of this writer, of which the answer was lost.
                Some((Some(there), version)) if is_same_holding(&there, &self.record) => {
                    self.version = version;
                }
                Some((Some(there), _)) => {
                    let ends = there.ends_for(&self.writer, &self.key);
                    return Err(in_use(&self.store, &self.run_id, &there, ends));
                }
                // What was just written was cut off.
                Some((None, version)) if is_written => self.version = version,
                Some((None, _)) => {
                    let reason = "it cannot be read: another writer may hold it".to_owned();
                    return Err(self.store.failure("renew", &self.key, MirrorFailure::Failed, reason));
                }
                None => {
                    let reason = "it was removed: another writer may hold it".to_owned();
                    return Err(self.store.failure("renew", &self.key, MirrorFailure::Failed, reason));
                }
            }
        }
        let reason = "it changes all the time".to_owned();
        Err(self.store.failure("renew", &self.key, MirrorFailure::Conflict, reason))
    }
}

/// Leaves the other writers time.
fn pause_before(attempt: u32) {
    if let Some(doublings) = attempt.checked_sub(1) {
        thread::sleep(FIRST_PAUSE * 2_u32.pow(doublings));
    }
}

fn is_same_holding(one: &Record, other: &Record) -> bool {
    (one.term, &one.token) == (other.term, &other.token)
}

fn token(writer: &Writer) -> String {
    format!("{:016x}", writer.token())
}

fn to_json(record: &Record) -> Result<Vec<u8>> {
    let text = serde_json::to_string(record);
    let text = text.map_err(|error| Error::snapshot("the lease cannot be written as JSON", error))?;
    Ok((text + "\n").into_bytes())
}

/// The lease that is there. Its record is `None` if it is not one: it was cut off.
fn read(store: &Store, key: &str) -> Result<Option<(Option<Record>, Version)>> {
    let Some((json, version)) = store.get(key, MAX_LEASE_BYTES)? else { return Ok(None) };
    let record: Option<Record> =
        parse(&json, MAX_LEASE_VALUES).ok().filter(|record: &Record| record.format == FORMAT);
    if let Some(Record { version: found, .. }) = record.as_ref().filter(|record| record.version > VERSION) {
        let path = PathBuf::from(store.shown(key));
        return Err(Error::NewerFormat { path, format: "mirror format", found: *found, supported: VERSION });
    }
    Ok(Some((record, version)))
}

/// Says of a store that has no conditional writes what to do.
fn with_advice(mut error: Error) -> Error {
    if let Error::Mirror { failure: MirrorFailure::Unsupported, reason, .. } = &mut error {
        *reason =
            format!("the store has no conditional writes (If-None-Match, If-Match), {ADVICE} ({reason})");
    }
    error
}

fn in_use(store: &Store, run_id: &str, record: &Record, until: Timestamp) -> Error {
    let holder =
        record.holder.clone().unwrap_or_else(|| "another writer, which has given it back".to_owned());
    Error::MirrorInUse { address: store.shown(run_id), holder, until }
}
