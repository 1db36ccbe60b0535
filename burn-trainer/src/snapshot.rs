//! A consistent copy of the training state, taken on the loop's thread and turned into sections on the writer's.
//!
//! burn never writes to a buffer that somebody else holds, so a clone of the learner (a few microseconds) stays
//! what it is while training goes on. The exception are running statistics, which sit behind a shared lock: a
//! clone shares them. `model.valid()` settles their pending updates and gives them cells of their own, so the
//! model's section is made from that copy.

use std::sync::{Arc, Mutex, PoisonError};

use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    AsyncCheckpointer, Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel, LearningCheckpointer};
use burn_ckpt::{Error, MODEL, MakeSections, OPTIMIZER, Result, SCHEDULER, Section};
use indexmap::IndexMap;

use crate::optimizer_names;
use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;

/// The state as it is now: model, and unless `weights_only`, optimizer and scheduler.
pub(crate) fn take<M: LearnerModel>(
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    weights_only: bool,
) -> MakeSections {
    let model = learner.model().valid();
    with_rest(move || Section::from_module(&model), learner, store, weights_only)
}

/// The state before a step that did not end.
///
/// The step may have left updates pending in running statistics, which [`settle`] before the step makes the
/// only pending ones. Visiting the model without settling them again therefore sees the statistics as they
/// were.
pub(crate) fn take_unsettled<M: LearnerModel>(
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    weights_only: bool,
) -> MakeSections {
    let model = Section::from_module(&learner.model());
    with_rest(move || model, learner, store, weights_only)
}

fn with_rest<M: LearnerModel>(
    model: impl FnOnce() -> Section + Send + 'static,
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    weights_only: bool,
) -> MakeSections {
    let rest = (!weights_only).then(|| (learner.clone(), Arc::clone(store)));
    Box::new(move || {
        let mut sections = IndexMap::from([(MODEL.to_owned(), model())]);
        if let Some((learner, store)) = rest {
            let (optimizer, scheduler) = training_records(&learner, &store)?;
            sections.insert(OPTIMIZER.to_owned(), optimizer_names::by_path(section(optimizer)?));
            sections.insert(SCHEDULER.to_owned(), section(scheduler)?);
        }
        Ok(sections)
    })
}

/// Applies the pending updates of a model's running statistics, as the next forward pass would do first.
pub(crate) fn settle<M: LearnerModel>(learner: &Learner<M>) {
    drop(learner.model().valid());
}

fn section<R: Checkpoint>(record: R) -> Result<Section> {
    let bytes = record.checkpoint_into_bytes().map_err(|error| Error::Snapshot(error.to_string()))?;
    Section::from_burnpack(bytes)
}

/// A learner's optimizer and scheduler are private; burn hands their records to checkpointers, and to nobody
/// else. So three of those catch them. (The model's record comes along and is dropped.)
fn training_records<M: LearnerModel>(
    learner: &Learner<M>,
    store: &EventStoreClient,
) -> Result<(OptimizerRecord, LrSchedulerRecord)> {
    let (optimizer, scheduler) = (Slot::default(), Slot::default());
    let mut checkpointer = LearningCheckpointer::<M>::new(
        AsyncCheckpointer::<ModuleRecord>::new(Discard),
        AsyncCheckpointer::new(optimizer.clone()),
        AsyncCheckpointer::new(scheduler.clone()),
        Box::new(Always),
    );
    checkpointer.checkpoint(learner, 0, store);
    // Its threads have stored everything once they are joined.
    drop(checkpointer);
    Ok((optimizer.take("optimizer")?, scheduler.take("scheduler")?))
}

struct Always;

impl CheckpointingStrategy for Always {
    fn checkpointing(&mut self, _epoch: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

struct Discard;

struct Slot<R>(Arc<Mutex<Option<R>>>);

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<R> Clone for Slot<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Slot<R> {
    fn take(&self, what: &str) -> Result<R> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        record.ok_or_else(|| Error::Snapshot(format!("burn gave no record of the {what}")))
    }
}

impl<R: Checkpoint> Checkpointer<R> for Slot<R> {
    fn save(&self, _epoch: usize, record: R) -> Result<(), CheckpointerError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
        Ok(())
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _epoch: usize) -> Result<R, CheckpointerError> {
        Err(CheckpointerError::Unknown("it only catches records".to_owned()))
    }
}

impl<R: Checkpoint> Checkpointer<R> for Discard {
    fn save(&self, _epoch: usize, _record: R) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _epoch: usize) -> Result<R, CheckpointerError> {
        Err(CheckpointerError::Unknown("it keeps nothing".to_owned()))
    }
}
