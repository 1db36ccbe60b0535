//! A checkpointer that captures records: burn gives the records of a learner's private parts to checkpointers
//! only.
//!
//! `snapshot` uses it for the present state, and `epoch_end_saves` for what burn's own loop saves.

use std::sync::Arc;

use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn_ckpt::chain;
use burn_ckpt::plumbing::MakeSections;
use burn_ckpt::{Error, Result, Section};
use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::metrics::HistoryAt;
use crate::state::check_optimizer_state::check_resumable;

/// Passes every record that burn saves to a function, with burn's number of the epoch. On a restore it gives
/// the record that it was created with.
pub(crate) struct CapturingCheckpointer<R, F> {
    save: F,
    to_restore: Mutex<Option<R>>,
}

/// The one record that its checkpointer captures.
pub(crate) struct CapturedRecord<R>(Arc<Mutex<Option<R>>>);

/// The parts of a state, as burn gives them one by one.
#[derive(Default)]
pub(crate) struct CapturedParts(Arc<Mutex<IndexMap<&'static str, Section>>>);

/// The sections of a checkpoint that burn gives records of, in their order.
const PARTS: [&str; 3] = [Section::MODEL, Section::OPTIMIZER, Section::SCHEDULER];

/// Saves at every call.
pub(crate) struct AlwaysSave;

impl<R, F> CapturingCheckpointer<R, F>
where
    R: Checkpoint,
    F: Fn(usize, R) -> Result<()> + Send + Sync,
{
    pub(crate) fn new(save: F) -> Self {
        Self { save, to_restore: Mutex::new(None) }
    }

    /// With the record that burn gets when it loads a checkpoint.
    pub(crate) fn restoring(self, record: Option<R>) -> Self {
        Self { to_restore: Mutex::new(record), ..self }
    }
}

impl<R, F> Checkpointer<R> for CapturingCheckpointer<R, F>
where
    R: Checkpoint,
    F: Fn(usize, R) -> Result<()> + Send + Sync,
{
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        (self.save)(epoch, record).map_err(|error| CheckpointerError::Unknown(chain(&error)))
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _epoch: usize) -> Result<R, CheckpointerError> {
        self.to_restore
            .lock()
            .take()
            .ok_or_else(|| CheckpointerError::Unknown("it only captures records".to_owned()))
    }
}

impl<R> Default for CapturedRecord<R> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<R: Checkpoint> CapturedRecord<R> {
    /// A checkpointer that captures the record here.
    pub(crate) fn checkpointer(
        &self,
    ) -> CapturingCheckpointer<R, impl Fn(usize, R) -> Result<()> + Send + Sync + use<R>> {
        let slot = Arc::clone(&self.0);
        CapturingCheckpointer::new(move |_, record| {
            *slot.lock() = Some(record);
            Ok(())
        })
    }

    pub(crate) fn take(&self, what: &str) -> Result<R> {
        self.0.lock().take().ok_or_else(|| missing_record(what))
    }
}

impl CapturedParts {
    /// Adds a part. Returns whether all parts are there.
    pub(crate) fn add(&self, part: &'static str, section: Section) -> bool {
        let mut parts = self.0.lock();
        parts.insert(part, section);
        PARTS.iter().all(|part| parts.contains_key(part))
    }

    /// Makes the sections later, when the parts are there. Without a history, the model alone.
    pub(crate) fn make_sections(&self, history: Option<HistoryAt>) -> MakeSections {
        let captured = Arc::clone(&self.0);
        Box::new(move || {
            let captured = captured.lock();
            let parts = if history.is_some() { &PARTS[..] } else { &PARTS[..1] };
            let part = |part: &&'static str| {
                let section = captured.get(part).cloned().ok_or_else(|| missing_record(part))?;
                Ok(((*part).to_owned(), section))
            };
            let mut sections: IndexMap<String, Section> = parts.iter().map(part).collect::<Result<_>>()?;
            if let Some(history) = history {
                check_resumable(&sections)?;
                sections.insert(Section::HISTORY.to_owned(), history.section()?);
            }
            Ok(sections)
        })
    }
}

impl CheckpointingStrategy for AlwaysSave {
    fn checkpointing(&mut self, _epoch: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// A record as the section of a checkpoint.
pub(crate) fn section_of<R: Checkpoint>(record: R) -> Result<Section> {
    let bytes = record
        .checkpoint_into_bytes()
        .map_err(|error| Error::snapshot("burn cannot write a record", error))?;
    Section::from_burnpack(bytes)
}

pub(crate) fn missing_record(what: &str) -> Error {
    Error::Snapshot { reason: format!("burn gave no record of the {what}"), source: None }
}
