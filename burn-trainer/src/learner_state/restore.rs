//! Puts the state of a checkpoint into a learner, and checks that the learner has it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use burn::train::checkpoint::Checkpoint as Record;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::Section;
use burn_ckpt::burn_pack::{DType, Scalar, Tensor};
use burn_ckpt::plumbing::{panic_message, shown};

use super::optimizer_probe::optimizer_and_scheduler;
use crate::error::{Error, Result};
use crate::optimizer::{restore_streamed_on, state_names};
use crate::process::console::warn;
use crate::state::resume_point::ResumePoint;

/// The most steps that a scheduler is asked for to come to the position of a run.
const MAX_REPEATED_STEPS: u64 = 20_000_000;

/// How many entries that do not fit an error names.
const MAX_NAMED: usize = 8;

/// The learner's state in burn's records.
pub(crate) struct LearnerRecords {
    pub(crate) model: ModuleRecord,
    pub(crate) optimizer: OptimizerRecord,
    pub(crate) scheduler: LrSchedulerRecord,
}

/// Why a state was not restored.
#[derive(Debug)]
pub(crate) enum NotRestored {
    /// The file cannot be read, or is not what was written: no program could resume from it.
    File(Error),
    /// This program has another model or optimizer than the one that saved the state, or not enough memory.
    /// It would have so with an older checkpoint too.
    Program(Error),
}

impl From<NotRestored> for Error {
    fn from(not_restored: NotRestored) -> Self {
        let (NotRestored::File(error) | NotRestored::Program(error)) = not_restored;
        error
    }
}

/// An error of reading a file whose content is right for the program.
fn of_the_file(error: Error) -> NotRestored {
    match is_out_of_memory(&error) {
        true => NotRestored::Program(error),
        false => NotRestored::File(error),
    }
}

fn is_out_of_memory(error: &Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Reads the records of a checkpoint.
///
/// # Errors
///
/// [`NotRestored::File`], but for a lack of memory.
pub(crate) fn read_records(resume: &ResumePoint) -> Result<LearnerRecords, NotRestored> {
    let read = || {
        let model = ModuleRecord::from_bytes(resume.section(Section::MODEL)?.into_burnpack()?);
        let model = model.map_err(|error| unreadable(resume, Section::MODEL, &error))?;
        let optimizer = state_names::by_id(resume.section(Section::OPTIMIZER)?);
        Ok(LearnerRecords {
            model,
            optimizer: record(resume, Section::OPTIMIZER, optimizer)?,
            scheduler: record(resume, Section::SCHEDULER, resume.section(Section::SCHEDULER)?)?,
        })
    };
    read().map_err(of_the_file)
}

/// Puts model and optimizer of a checkpoint into a learner, and reads the sections of callbacks into memory:
/// those of these names that there are. Everything is read before the learner is changed.
/// [`restore_scheduler`] follows, which reads nothing more.
pub(crate) fn restore<M: LearnerModel>(
    learner: &mut Learner<M>,
    resume: &mut ResumePoint,
    callbacks: &[String],
) -> Result<(), NotRestored> {
    // burn panics on a record that does not fit, so this is checked first.
    let own = learner.model();
    resume.checkpoint.check_fits(&own).map_err(|error| NotRestored::Program(error.into()))?;
    check_types(&Section::from_module(&own), resume).map_err(NotRestored::Program)?;
    // A model without a tensor has no state of an optimizer either.
    let device = own.devices().into_iter().next().unwrap_or_default();
    drop(own);
    let LearnerRecords { model, optimizer, .. } = read_records(resume)?;
    for name in callbacks.iter().filter(|name| resume.checkpoint.has_section(name)) {
        let section = in_memory(resume, name).map_err(of_the_file)?;
        resume.callbacks.insert(name.clone(), section);
    }
    let load = || {
        learner.load_model(model);
        restore_streamed_on(device.clone(), || learner.load_optim(optimizer));
    };
    loaded(resume, load, || other_default(&device)).map_err(NotRestored::Program)
}

fn in_memory(resume: &ResumePoint, name: &str) -> Result<Section> {
    Ok(Section::from_burnpack(resume.section(name)?.into_burnpack()?)?)
}

/// Loads what the checks do not know of: a program's own optimizer or scheduler can panic on its state. The
/// error ends with what `advice` says.
fn loaded(resume: &ResumePoint, load: impl FnOnce(), advice: impl FnOnce() -> String) -> Result<()> {
    let loaded = catch_unwind(AssertUnwindSafe(load));
    loaded.map_err(|panic| {
        let message = panic_message(&*panic);
        resume.unusable(format!("restoring it panicked: {message}{}", advice()))
    })
}

/// What to do where burn cannot put the state of an optimizer onto its default device.
fn other_default(of_model: &Device) -> String {
    match catch_unwind(Device::default) {
        Ok(default) if default != *of_model => format!(
            "; burn restores an optimizer on its default device, {default:?}, unless it is made by \
             `init_streamed()`: the environment variable BURN_DEVICE sets another"
        ),
        _ => String::new(),
    }
}

/// Which state a learner's scheduler has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestoredScheduler {
    /// That of the checkpoint.
    Saved,
    /// Its own: the checkpoint was saved with another kind.
    Own,
}

/// Puts the scheduler of a checkpoint into a learner that [`restore`] has filled, and checks that optimizer
/// and scheduler have what was saved. `sections` reads those of a learner: burn leaves out what an optimizer
/// does not know, and would train without it.
///
/// A scheduler of another kind continues at the step of the run, as if it had been this one from the start.
pub(crate) fn restore_scheduler<M: LearnerModel>(
    learner: &mut Learner<M>,
    resume: &ResumePoint,
    sections: impl FnOnce(Learner<M>) -> burn_ckpt::Result<(Section, Section)>,
) -> Result<RestoredScheduler> {
    let record: LrSchedulerRecord =
        record(resume, Section::SCHEDULER, resume.checkpoint.section(Section::SCHEDULER)?)?;
    // A copy: a scheduler of another kind can take a part of the record.
    let mut restored = learner.clone();
    loaded(resume, || restored.load_scheduler(record), String::new)?;
    let (optimizer, scheduler) = sections(restored.clone())?;
    if check_restored(&optimizer, &scheduler, resume)? == RestoredScheduler::Saved {
        *learner = restored;
        return Ok(RestoredScheduler::Saved);
    }
    drop(restored);
    let steps = resume.state.position.global_step;
    let path = resume.checkpoint.path().display();
    let other = format!("{path}: it was saved with another kind of learning-rate scheduler; this program's");
    match moved_forward(learner, steps) {
        Ok(moved) => {
            *learner = moved;
            warn(&format!("{other} continues at step {}", steps + 1));
        }
        Err(reason) => warn(&format!("{other} begins at its start: {reason}")),
    }
    Ok(RestoredScheduler::Own)
}

/// The records that a loop of burn's puts into the learner once more, after they were checked with a learner
/// that has them.
pub(crate) fn records_for_burn<M: LearnerModel>(
    learner: &mut Learner<M>,
    resume: &ResumePoint,
    mut records: LearnerRecords,
) -> Result<LearnerRecords> {
    let sections = |learner: Learner<M>| optimizer_and_scheduler(&learner);
    if restore_scheduler(learner, resume, sections)? == RestoredScheduler::Own {
        let (_, own) = optimizer_and_scheduler(learner)?;
        records.scheduler = record(resume, Section::SCHEDULER, own)?;
    }
    Ok(records)
}

/// The learner with its scheduler some steps further.
fn moved_forward<M: LearnerModel>(learner: &Learner<M>, steps: u64) -> Result<Learner<M>, String> {
    check_repeatable(steps)?;
    let mut moved = learner.clone();
    let stepped = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            moved.lr_step();
        }
        // The next step needs a rate too.
        moved.clone().lr_step();
    }));
    match stepped {
        Ok(()) => Ok(moved),
        Err(panic) => Err(format!("asked for its step {steps} it panicked: {}", panic_message(&*panic))),
    }
}

/// Checks that the model's values have the types that the program's model has. burn would compute with two
/// types at once, and panic.
fn check_types(own: &Section, resume: &ResumePoint) -> Result<()> {
    let types: HashMap<&str, DType> =
        own.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.dtype)).collect();
    for tensor in resume.checkpoint.section(Section::MODEL)?.tensors {
        match types.get(tensor.name.as_str()) {
            Some(own) if own.is_float() && *own != tensor.dtype => {
                let (name, saved, own) = (shown(&tensor.name), tensor.dtype.name(), own.name());
                let section = Section::MODEL;
                let reason =
                    format!("the tensor {section}.{name} is {saved}, and the program's parameter {own}");
                return Err(resume.unusable(reason));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The number of steps comes from a file.
fn check_repeatable(steps: u64) -> Result<(), String> {
    match steps > MAX_REPEATED_STEPS {
        true => Err(format!("{steps} steps are too many to repeat, above {MAX_REPEATED_STEPS}")),
        false => Ok(()),
    }
}

/// Checks that `optimizer` and `scheduler`, which a learner has now, are of the kinds that the checkpoint
/// has.
fn check_restored(
    optimizer: &Section,
    scheduler: &Section,
    resume: &ResumePoint,
) -> Result<RestoredScheduler> {
    let missing = missing(&resume.checkpoint.section(Section::OPTIMIZER)?, optimizer);
    if !missing.is_empty() {
        let reason = format!(
            "the optimizer of this program does not know its {}: it was saved with another kind of optimizer, or \
             with other parameters",
            missing.join(", ")
        );
        return Err(resume.unusable(reason));
    }
    let saved = resume.checkpoint.section(Section::SCHEDULER)?.scalars;
    if !saved.keys().eq(scheduler.scalars.keys()) {
        return Ok(RestoredScheduler::Own);
    }
    let differs = |name: &String| !same_kind(saved.get(name), scheduler.scalars.get(name));
    if let Some(name) = saved.keys().find(|name| differs(name)) {
        let reason = format!(
            "the learning-rate scheduler of this program did not take {}.{}",
            Section::SCHEDULER,
            shown(name)
        );
        return Err(resume.unusable(reason));
    }
    Ok(RestoredScheduler::Saved)
}

/// Whether two values are both counts, both numbers or both flags. burn stores a count with or without a
/// sign.
fn same_kind(one: Option<&Scalar>, other: Option<&Scalar>) -> bool {
    let kind = |scalar: &Scalar| match scalar {
        Scalar::Int(_) | Scalar::UInt(_) => 0,
        Scalar::Float(_) => 1,
        Scalar::Bool(_) => 2,
    };
    one.map(kind) == other.map(kind)
}

/// The names in a section that the learner's section does not have, or has with another shape or type.
fn missing(saved: &Section, own: &Section) -> Vec<String> {
    let kept: HashMap<&str, &Tensor> =
        own.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let has_tensor = |tensor: &Tensor| {
        let kept = kept.get(tensor.name.as_str());
        kept.is_some_and(|kept| (&kept.shape, kept.dtype) == (&tensor.shape, tensor.dtype))
    };
    let tensors = saved.tensors.iter().filter(|tensor| !has_tensor(tensor)).map(|tensor| tensor.name.clone());
    let scalars = saved.scalars.keys().filter(|name| !own.scalars.contains_key(*name)).cloned();
    tensors
        .chain(scalars)
        .take(MAX_NAMED)
        .map(|name| format!("{}.{}", Section::OPTIMIZER, shown(&name)))
        .collect()
}

fn record<R: Record>(resume: &ResumePoint, name: &str, section: Section) -> Result<R> {
    // burn expects every tensor of an optimizer's record to name its parameter, and panics otherwise.
    if let Some(tensor) = section.tensors.iter().find(|tensor| tensor.param_id.is_none()) {
        return Err(resume.unusable(format!("the tensor {name}.{} names no parameter", shown(&tensor.name))));
    }
    let bytes = section.into_burnpack()?;
    R::checkpoint_from_bytes(bytes).map_err(|error| unreadable(resume, name, &error))
}

fn unreadable(resume: &ResumePoint, name: &str, error: &dyn std::fmt::Display) -> Error {
    resume.unusable(format!("its {name} section cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_steps_that_would_take_minutes_is_not_repeated() {
        assert_eq!(check_repeatable(MAX_REPEATED_STEPS), Ok(()));
        assert!(check_repeatable(MAX_REPEATED_STEPS + 1).unwrap_err().contains("too many to repeat"));
    }
}
