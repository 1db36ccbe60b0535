//! Puts the state of a checkpoint into a learner, and checks that the learner has it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::Checkpoint as Record;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::Section;
use burn_ckpt::burn_pack::{DType, Scalar};
use burn_ckpt::plumbing::{panic_message, shown};

use crate::error::Result;
use crate::optimizer::state_names;
use crate::process::console::warn;
use crate::state::resume_point::ResumePoint;

/// How many entries that do not fit an error names.
const MAX_NAMED: usize = 8;

/// The learner's state in burn's records.
pub(crate) struct LearnerRecords {
    pub(crate) model: ModuleRecord,
    pub(crate) optimizer: OptimizerRecord,
    pub(crate) scheduler: LrSchedulerRecord,
}

/// Reads the records of a checkpoint.
pub(crate) fn read_records(resume: &ResumePoint) -> Result<LearnerRecords> {
    let checkpoint = &resume.checkpoint;
    let optimizer = state_names::by_id(checkpoint.section(Section::OPTIMIZER)?);
    Ok(LearnerRecords {
        model: checkpoint.model_record()?,
        optimizer: record(resume, Section::OPTIMIZER, optimizer)?,
        scheduler: record(resume, Section::SCHEDULER, checkpoint.section(Section::SCHEDULER)?)?,
    })
}

/// Puts model, optimizer and scheduler of a checkpoint into a learner.
pub(crate) fn restore<M: LearnerModel>(learner: &mut Learner<M>, resume: &ResumePoint) -> Result<()> {
    // burn panics on a record that does not fit, so this is checked first.
    let own = learner.model();
    resume.checkpoint.check_fits(&own)?;
    check_types(&Section::from_module(&own), resume)?;
    drop(own);
    let LearnerRecords { model, optimizer, scheduler } = read_records(resume)?;
    // What the checks do not know of: a program's own optimizer can panic on its state.
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        learner.load_model(model);
        learner.load_optim(optimizer);
        learner.load_scheduler(scheduler);
    }));
    loaded.map_err(|panic| resume.unusable(format!("restoring it panicked: {}", panic_message(&*panic))))
}

/// Checks that the model's values have the types that the program's model has. burn would compute with two types at once, and panic.
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

/// Checks the state of a learner after [`restore`]: `optimizer` and `scheduler` are what it has now. burn leaves out what an
/// optimizer does not know, and would train without it.
pub(crate) fn check_restored(optimizer: &Section, scheduler: &Section, resume: &ResumePoint) -> Result<()> {
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
        let message = format!(
            "{}: it was saved with another kind of learning-rate scheduler; this program's begins at its start",
            resume.checkpoint.path().display()
        );
        warn(&message);
        return Ok(());
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
    Ok(())
}

/// Whether two values are both counts, both numbers or both flags. burn stores a count with or without a sign.
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
    let has_tensor = |tensor: &burn_ckpt::burn_pack::Tensor| {
        own.tensors.iter().any(|other| {
            (&other.name, &other.shape, other.dtype) == (&tensor.name, &tensor.shape, tensor.dtype)
        })
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
    R::checkpoint_from_bytes(bytes)
        .map_err(|error| resume.unusable(format!("its {name} section cannot be read: {error}")))
}
