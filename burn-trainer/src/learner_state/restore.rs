//! Puts the state of a checkpoint into a learner, and checks that the learner has it.

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::Checkpoint as Record;
use burn::train::{Learner, LearnerModel};
use burn_ckpt::Section;

use crate::error::Result;
use crate::optimizer::state_names;
use crate::process::console::warn;
use crate::state::resume_point::ResumePoint;

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
    resume.checkpoint.check_fits(&learner.model())?;
    let LearnerRecords { model, optimizer, scheduler } = read_records(resume)?;
    learner.load_model(model);
    learner.load_optim(optimizer);
    learner.load_scheduler(scheduler);
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
    }
    Ok(())
}

/// The names in a section that the learner's section does not have, or has with another shape.
fn missing(saved: &Section, own: &Section) -> Vec<String> {
    let has_tensor = |tensor: &burn_ckpt::burn_pack::Tensor| {
        own.tensors.iter().any(|other| (&other.name, &other.shape) == (&tensor.name, &tensor.shape))
    };
    let tensors = saved.tensors.iter().filter(|tensor| !has_tensor(tensor)).map(|tensor| tensor.name.clone());
    let scalars = saved.scalars.keys().filter(|name| !own.scalars.contains_key(*name)).cloned();
    tensors.chain(scalars).map(|name| format!("{}.{name}", Section::OPTIMIZER)).collect()
}

fn record<R: Record>(resume: &ResumePoint, name: &str, section: Section) -> Result<R> {
    // burn expects every tensor of an optimizer's record to name its parameter, and panics otherwise.
    if let Some(tensor) = section.tensors.iter().find(|tensor| tensor.param_id.is_none()) {
        return Err(resume.unusable(format!("the tensor {name}.{} names no parameter", tensor.name)));
    }
    let bytes = section.into_burnpack()?;
    R::checkpoint_from_bytes(bytes)
        .map_err(|error| resume.unusable(format!("its {name} section cannot be read: {error}")))
}
