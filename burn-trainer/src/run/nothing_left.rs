//! Whether a run that resumes has anything left to train.

use crate::config::TrainerConfig;
use crate::process::progress::figures::{count, exact_time};
use crate::state::end_reason::EndReason;
use crate::state::resume_point::ResumePoint;
use crate::state::run_clock::training_time;
use crate::training_loop::parts::run_limits::RunLimits;

/// The limit that a checkpoint has reached already.
pub(super) struct NothingLeft {
    /// The setting of the limit.
    pub(super) setting: &'static str,
    pub(super) limit: String,
    /// What the checkpoint has of it.
    pub(super) done: String,
}

impl NothingLeft {
    /// `None` where there is a step to do.
    pub(super) fn of(config: &TrainerConfig, resume: &ResumePoint) -> Option<Self> {
        let position = resume.state.position.next();
        if position.epoch >= config.max_epochs as u64 {
            let (limit, done) = (config.max_epochs.to_string(), count(position.epoch, "epoch"));
            return Some(Self { setting: "max_epochs", limit, done });
        }
        let trained = training_time(resume.state.training_time_seconds);
        match RunLimits::of(config).reached(position, trained)? {
            EndReason::MaxTime(limit) => {
                let done = format!("{} of training", exact_time(trained));
                Some(Self { setting: "max_time", limit: exact_time(limit), done })
            }
            _ => {
                let limit = config.max_steps.unwrap_or_default().to_string();
                Some(Self { setting: "max_steps", limit, done: count(position.global_step, "step") })
            }
        }
    }
}
