//! The list of a run's starts, which stands in the metadata of every checkpoint.

use burn_ckpt::metadata::RunStart;
use burn_ckpt::metrics_log::ended_by_log;
use burn_ckpt::plumbing::git_commit;
use burn_ckpt::{Checkpoint, Metadata, chain};
use jiff::Timestamp;
use serde_json::Value;

use super::open::OpenRun;
use crate::config::TrainerConfig;
use crate::process::console::warn;
use crate::state::resume_point::ResumePoint;
use crate::stopping::resume_command;

/// The most starts that are kept. A supervisor may restart a run every minute, and each checkpoint has the
/// whole list.
const MAX_STARTS: usize = 256;

/// A start with all its settings.
pub(super) struct ThisStart<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) run_id: &'a str,
    pub(super) resumed_from: Option<String>,
    pub(super) trainer_config: &'a Value,
    pub(super) hparams: &'a Value,
}

/// The starts of a run: those that the checkpoint lists, with how the last of them ended, and this one.
pub(super) fn all(this: ThisStart<'_>, resume: Option<&ResumePoint>, run: &OpenRun) -> Vec<RunStart> {
    let mut starts = resume.map_or_else(Vec::new, |resume| before(&resume.metadata));
    let mut start = RunStart::new(this.timestamp, this.run_id);
    start.program = resume_command::program();
    if let (Some(resume), Some(last)) = (resume, starts.last_mut()) {
        last.ended = ended(resume).or_else(|| ended_later(last, &resume.metadata, run));
        let position = resume.state.position.next();
        start.resumed_from = this.resumed_from;
        (start.epoch, start.global_step) = (position.epoch, position.global_step);
    }
    let unless_same = |now: &Value, of: fn(&RunStart) -> Option<&Value>| {
        let before = starts.iter().rev().find_map(of);
        (before != Some(now)).then(|| now.clone())
    };
    start.trainer_config = unless_same(this.trainer_config, |start| start.trainer_config.as_ref());
    start.hparams = unless_same(this.hparams, |start| start.hparams.as_ref());
    starts.push(start);
    shorten(&mut starts);
    starts
}

/// The starts that a checkpoint lists. One of an earlier version lists none: then its own facts are those of
/// the first.
fn before(metadata: &Metadata) -> Vec<RunStart> {
    if !metadata.starts.is_empty() {
        return metadata.starts.clone();
    }
    let mut first = RunStart::new(metadata.start_timestamp, &metadata.run_id);
    first.git_commit = git_commit(&metadata.environment);
    first.trainer_config = Some(metadata.trainer_config.clone());
    first.hparams = Some(metadata.hparams.clone());
    vec![first]
}

/// How the start that saved a checkpoint ended, as far as the checkpoint says.
fn ended(resume: &ResumePoint) -> Option<String> {
    let then = serde_json::from_value::<TrainerConfig>(resume.metadata.trainer_config.clone()).ok();
    let is_done = then.is_some_and(|then| resume.state.position.next().epoch >= then.max_epochs as u64);
    resume.state.ended.clone().or_else(|| is_done.then(|| "done".to_owned()))
}

/// How a start ended after it saved the checkpoint that the run resumes from: its newest checkpoint says it,
/// or the log.
fn ended_later(start: &RunStart, resumed: &Metadata, run: &OpenRun) -> Option<String> {
    let of_start =
        |metadata: &Metadata| metadata.starts.last().is_some_and(|last| last.timestamp == start.timestamp);
    let newest = run.present.entries.iter().rfind(|entry| of_start(&entry.metadata));
    let in_newest = newest.map_or(Ok(Value::Null), |newest| Checkpoint::open(&newest.path)?.trainer_state());
    let (step, saved) = (resumed.global_step, resumed.checkpoint_timestamp);
    let in_log = ended_by_log(run.layout.run_dir(), step, saved);
    let found = in_newest.and_then(|state: Value| Ok((state["ended"].as_str().map(str::to_owned), in_log?)));
    match found {
        Ok((in_newest, in_log)) => {
            let in_log = in_log.filter(|end| end.start == Some(start.timestamp));
            in_newest.or_else(|| in_log.map(|end| end.ended))
        }
        Err(error) => {
            warn(&format!("the list of starts does not say how the last one ended: {}", chain(&error)));
            None
        }
    }
}

/// Drops the oldest starts but the first. The settings of a dropped one stay with the one after it.
fn shorten(starts: &mut Vec<RunStart>) {
    while starts.len() > MAX_STARTS {
        let dropped = starts.remove(1);
        if let Some(next) = starts.get_mut(1) {
            next.trainer_config = next.trainer_config.take().or(dropped.trainer_config);
            next.hparams = next.hparams.take().or(dropped.hparams);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_keeps_the_first_start_and_the_settings_of_those_it_drops() {
        let mut starts: Vec<RunStart> = (0..=MAX_STARTS + 1)
            .map(|number| RunStart::new(Timestamp::UNIX_EPOCH, number.to_string()))
            .collect();
        starts[0].hparams = Some(Value::from(0));
        starts[1].hparams = Some(Value::from(1));
        shorten(&mut starts);
        assert_eq!(starts.len(), MAX_STARTS);
        assert_eq!((starts[0].run_id.as_str(), starts[1].run_id.as_str()), ("0", "3"));
        assert_eq!(starts[1].hparams, Some(Value::from(1)));
    }
}
