//! A consistent copy of the training state, taken on the loop's thread and turned into sections on the
//! writer's.
//!
//! burn never writes to a shared buffer, so a clone of the learner (a few microseconds) does not change while
//! training continues. The exception is running statistics, which are behind a shared lock: a clone shares
//! them. `model.valid()` applies their pending updates and gives them cells of their own, so the model's
//! section is made from that copy.

use std::sync::Arc;

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::AsyncCheckpointer;
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel, LearningCheckpointer};
use burn_ckpt::plumbing::{MakeSections, ReadTiming};
use burn_ckpt::{Result, Section};
use indexmap::IndexMap;

use super::record_capture::{AlwaysSave, CapturedRecord, CapturingCheckpointer, section_of};
use super::running_statistics::RunningStatistics;
use crate::metrics::HistoryAt;
use crate::optimizer::{advise_streaming, collect_streamed, state_names};
use crate::state::callback_state::CallbackStates;
use crate::state::check_optimizer_state::check_resumable;

/// The present state: the model, and with a history also the optimizer, the scheduler, the history and the
/// callbacks' states. Without one it is the weights alone. With `statistics`, those replace the model's
/// running statistics. With [`ReadTiming::Now`] all reads are started before it returns. Otherwise `keep`
/// gets what the writer will read.
pub(crate) fn take_snapshot<M: LearnerModel>(
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    statistics: Option<&RunningStatistics>,
    history: Option<HistoryAt>,
    keep: impl FnOnce(&M, Option<&Learner<M>>),
    reading: ReadTiming,
    callbacks: &CallbackStates,
) -> MakeSections {
    let model = learner.model().valid();
    let model = match statistics {
        Some(statistics) => statistics.put_into(model),
        None => model,
    };
    take_snapshot_of(model, learner, store, history, keep, reading, callbacks)
}

/// The same of a model in validation mode with the right running statistics, and the learner that it belongs
/// to.
pub(crate) fn take_snapshot_of<M: LearnerModel>(
    model: M,
    learner: &Learner<M>,
    store: &Arc<EventStoreClient>,
    history: Option<HistoryAt>,
    keep: impl FnOnce(&M, Option<&Learner<M>>),
    reading: ReadTiming,
    callbacks: &CallbackStates,
) -> MakeSections {
    if reading == ReadTiming::Later {
        keep(&model, history.as_ref().map(|_| learner));
    }
    let weights_only = history.is_none();
    let rest = history.map(|history| (learner.clone(), Arc::clone(store), history));
    let callbacks = callbacks.clone();
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
            check_resumable(&sections)?;
            sections.insert(Section::HISTORY.to_owned(), history.section()?);
        }
        sections.extend(callbacks.sections(weights_only, reading));
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

/// The state of a learner's optimizer, by the paths of the parameters, and of its scheduler.
///
/// The tensors of a streamed optimizer are handles. For other optimizers burn has read the tensors, and
/// copies them into one buffer. The learner is dropped before that, so that there are never three copies.
pub(crate) fn optimizer_and_scheduler<M: LearnerModel>(
    learner: Learner<M>,
    store: &EventStoreClient,
    reading: ReadTiming,
) -> Result<(Section, Section)> {
    let (records, streamed) = collect_streamed(reading, || training_records(learner, store));
    let (optimizer, scheduler) = records?;
    let mut optimizer = section_of(optimizer)?;
    advise_streaming(&optimizer);
    optimizer.tensors.extend(streamed.tensors);
    Ok((state_names::by_path(optimizer), section_of(scheduler)?))
}

/// Applies the pending updates of a model's running statistics, as the next forward pass would do first.
/// Returns the statistics, and the model in validation mode, which has them in cells of its own.
pub(crate) fn settle_statistics<M: LearnerModel>(learner: &Learner<M>) -> (RunningStatistics, M) {
    let model = learner.model();
    let valid = model.valid();
    (RunningStatistics::of(&model), valid)
}

/// burn gives the records of a learner's private optimizer and scheduler to checkpointers only. So three
/// checkpointers capture the records. The model's record comes with them and is dropped.
fn training_records<M: LearnerModel>(
    learner: Learner<M>,
    store: &EventStoreClient,
) -> Result<(OptimizerRecord, LrSchedulerRecord)> {
    let (optimizer, scheduler) = (CapturedRecord::default(), CapturedRecord::default());
    let mut checkpointer = LearningCheckpointer::<M>::new(
        AsyncCheckpointer::new(CapturingCheckpointer::new(|_, _: ModuleRecord| Ok(()))),
        AsyncCheckpointer::new(optimizer.checkpointer()),
        AsyncCheckpointer::new(scheduler.checkpointer()),
        Box::new(AlwaysSave),
    );
    checkpointer.checkpoint(&learner, 0, store);
    drop(learner);
    // Joins its threads: then every record is captured.
    drop(checkpointer);
    Ok((optimizer.take("optimizer")?, scheduler.take("scheduler")?))
}
