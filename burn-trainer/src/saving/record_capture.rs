//! A checkpointer that catches: burn gives the records of a learner's private parts to checkpointers and to nobody else.
//!
//! `snapshot.rs` uses it for the state of a moment, `epoch_saves.rs` for what burn's own loop saves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn_ckpt::plumbing::MakeSections;
use burn_ckpt::{Error, Result, Section};
use indexmap::IndexMap;

use crate::metrics::HistoryAt;

/// Hands every record that burn saves to a function, with burn's number of the epoch, and gives back one record that it
/// was given itself.
pub(crate) struct Catch<R, F> {
    save: F,
    to_restore: Mutex<Option<R>>,
}

/// A place for one record.
pub(crate) struct Slot<R>(Arc<Mutex<Option<R>>>);

/// The state of a moment as burn gives it, part by part.
#[derive(Default)]
pub(crate) struct Caught(Arc<Mutex<IndexMap<&'static str, Section>>>);

/// The sections of a checkpoint that burn gives records of, in their order.
const PARTS: [&str; 3] = [Section::MODEL, Section::OPTIMIZER, Section::SCHEDULER];

/// Saves whenever it is asked.
pub(crate) struct Always;

impl<R, F> Catch<R, F>
where
    R: Checkpoint,
    F: Fn(usize, R) -> Result<()> + Send + Sync,
{
    pub(crate) fn new(save: F) -> Self {
        Self { save, to_restore: Mutex::new(None) }
    }

    /// With what burn is to find when it loads a checkpoint.
    pub(crate) fn restoring(self, record: Option<R>) -> Self {
        Self { to_restore: Mutex::new(record), ..self }
    }
}

impl<R, F> Checkpointer<R> for Catch<R, F>
where
    R: Checkpoint,
    F: Fn(usize, R) -> Result<()> + Send + Sync,
{
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        (self.save)(epoch, record).map_err(|error| CheckpointerError::Unknown(error.to_string()))
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _epoch: usize) -> Result<R, CheckpointerError> {
        lock(&self.to_restore)
            .take()
            .ok_or_else(|| CheckpointerError::Unknown("it only catches records".to_owned()))
    }
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<R: Checkpoint> Slot<R> {
    /// A checkpointer that puts the record here.
    pub(crate) fn catch(&self) -> Catch<R, impl Fn(usize, R) -> Result<()> + Send + Sync + use<R>> {
        let slot = Arc::clone(&self.0);
        Catch::new(move |_, record| {
            *lock(&slot) = Some(record);
            Ok(())
        })
    }

    pub(crate) fn take(&self, what: &str) -> Result<R> {
        lock(&self.0).take().ok_or_else(|| no_record_of(what))
    }
}

impl Caught {
    /// Adds a part. Returns whether they are all there.
    pub(crate) fn add(&self, part: &'static str, section: Section) -> bool {
        let mut caught = lock(&self.0);
        caught.insert(part, section);
        PARTS.iter().all(|part| caught.contains_key(part))
    }

    /// Makes the sections later, when the parts are there. Without a history, the weights alone are wanted.
    pub(crate) fn make_sections(&self, history: Option<HistoryAt>) -> MakeSections {
        let caught = Arc::clone(&self.0);
        Box::new(move || {
            let caught = lock(&caught);
            let parts = if history.is_some() { &PARTS[..] } else { &PARTS[..1] };
            let part = |part: &&'static str| {
                let section = caught.get(part).cloned().ok_or_else(|| no_record_of(part))?;
                Ok(((*part).to_owned(), section))
            };
            let mut sections: IndexMap<String, Section> = parts.iter().map(part).collect::<Result<_>>()?;
            if let Some(history) = history {
                sections.insert(Section::HISTORY.to_owned(), history.section()?);
            }
            Ok(sections)
        })
    }
}

impl CheckpointingStrategy for Always {
    fn checkpointing(&mut self, _epoch: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// A record as the section of a checkpoint.
pub(crate) fn section<R: Checkpoint>(record: R) -> Result<Section> {
    let bytes = record.checkpoint_into_bytes().map_err(|error| Error::Snapshot(error.to_string()))?;
    Section::from_burnpack(bytes)
}

pub(crate) fn no_record_of(what: &str) -> Error {
    Error::Snapshot(format!("burn gave no record of the {what}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
