//! A consistent copy of the training state, taken on the loop's thread and turned into sections on the writer's.
//!
//! burn never writes to a buffer that somebody else holds, so a clone of the learner (a few microseconds) stays
//! what it is while training goes on. The exception are running statistics, which sit behind a shared lock: a
//! clone shares them. `model.valid()` settles their pending updates and gives them cells of their own, so the
//! model's section is made from that copy.

use std::sync::Arc;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::AsyncCheckpointer;
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel, LearningCheckpointer};
use burn_ckpt::plumbing::MakeSections;
use burn_ckpt::{Result, Section};
use indexmap::IndexMap;

use crate::metrics::HistoryAt;
use crate::optimizer::{advise, collect, state_names};
use crate::saving::record_capture::{Always, Catch, Slot, section};
use crate::training_loop::running_statistics::Buffers;

/// The state as it is now: model, and with a history (without one, the weights alone are wanted) optimizer, scheduler
/// and the history. With `buffers`, the running statistics are those. `keep` sees what the writer is to read.
pub(crate) fn take<M: LearnerModel>(
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    buffers: Option<&Buffers>,
    history: Option<HistoryAt>,
    keep: impl FnOnce(&M, Option<&Learner<M>>),
    reading: ReadTiming,
) -> MakeSections {
    let model = learner.model().valid();
    let model = match buffers {
        Some(buffers) => buffers.put_into(model),
        None => model,
    };
    if reading == ReadTiming::Later {
        keep(&model, history.as_ref().map(|_| learner));
    }
    let rest = history.map(|history| (learner.clone(), Arc::clone(store), history));
    let make = move || {
        let model = match reading {
            ReadTiming::Later => Section::from_module(&model),
            ReadTiming::Now => Section::from_module_at_once(&model),
        };
        let mut sections = IndexMap::from([(Section::MODEL.to_owned(), model)]);
        if let Some((learner, store, history)) = rest {
            let (optimizer, scheduler) = optimizer_and_scheduler(learner, &store, reading)?;
            sections.insert(Section::OPTIMIZER.to_owned(), optimizer);
            sections.insert(Section::SCHEDULER.to_owned(), scheduler);
            sections.insert(Section::HISTORY.to_owned(), history.section()?);
        }
        Ok(sections)
    };
    match reading {
        ReadTiming::Later => Box::new(make),
        ReadTiming::Now => {
            let sections = make();
            Box::new(move || sections)
        }
    }
}

/// When a state is read from its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadTiming {
    /// By the writer, while the loop goes on.
    Later,
    /// Before the loop goes on all tensors are asked for; those of an optimizer that is not streamed are read, one after the
    /// other, as burn makes its record. For devices of other machines, which do what they are asked for in its order: between the
    /// operations of the loop, each of those tensors would take a step's time, and hold up the steps as well.
    Now,
}

/// A learner's optimizer, by the parameters' paths, and its scheduler.
///
/// The tensors of a streamed optimizer are handles. Others burn has read by now, and copies once more into one buffer; the
/// learner goes in between, so that they are never there three times.
pub(crate) fn optimizer_and_scheduler<M: LearnerModel>(
    learner: Learner<M>,
    store: &EventStoreClient,
    reading: ReadTiming,
) -> Result<(Section, Section)> {
    let (records, streamed) = collect(reading == ReadTiming::Now, || training_records(learner, store));
    let (optimizer, scheduler) = records?;
    let mut optimizer = section(optimizer)?;
    advise(&optimizer);
    optimizer.tensors.extend(streamed.tensors);
    Ok((state_names::by_path(optimizer), section(scheduler)?))
}

/// Applies the pending updates of a model's running statistics, as the next forward pass would do first, and keeps
/// the statistics.
pub(crate) fn settle<M: LearnerModel>(learner: &Learner<M>) -> Buffers {
    let model = learner.model();
    drop(model.valid());
    Buffers::of(&model)
}

/// A learner's optimizer and scheduler are private; burn hands their records to checkpointers, and to nobody
/// else. So three of those catch them. (The model's record comes along and is dropped.)
fn training_records<M: LearnerModel>(
    learner: Learner<M>,
    store: &EventStoreClient,
) -> Result<(OptimizerRecord, LrSchedulerRecord)> {
    let (optimizer, scheduler) = (Slot::default(), Slot::default());
    let mut checkpointer = LearningCheckpointer::<M>::new(
        AsyncCheckpointer::new(Catch::new(|_, _: ModuleRecord| Ok(()))),
        AsyncCheckpointer::new(optimizer.catch()),
        AsyncCheckpointer::new(scheduler.catch()),
        Box::new(Always),
    );
    checkpointer.checkpoint(&learner, 0, store);
    drop(learner);
    // Its threads have stored everything once they are joined.
    drop(checkpointer);
    Ok((optimizer.take("optimizer")?, scheduler.take("scheduler")?))
}
