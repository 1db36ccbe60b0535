//! From decisions to requests: one snapshot for all strategies that save, a reserved file name for each, and
//! the trainer's state.

use std::path::PathBuf;

use burn_ckpt::plumbing::{MakeSections, MakeTrainerState, Reservation, SaveRequest, exception_stem};
use jiff::{SignedDuration, Timestamp};

use super::Saver;
use crate::error::Result;
use crate::process::run_output::OutputHandle;
use crate::run_speed::RunSpeed;
use crate::saving::requested_save::RequestedSave;
use crate::saving::saved_names::{self, SavedName};
use crate::state::position::TrainerState;

impl Saver {
    /// Reserves the paths, and describes the saves that go there.
    pub(crate) fn prepare(
        &mut self,
        requested: &[RequestedSave],
        state: &TrainerState,
        snapshot: impl Fn(bool) -> MakeSections,
    ) -> Result<Vec<SaveRequest>> {
        let timestamp = after(self.newest_timestamp, Timestamp::now());
        let mut saves = Vec::new();
        // The contents differ, so these are two files. The one that can be resumed comes last: if a kill came
        // between them the other way round, the resumed run would continue after this state and never write
        // the weights.
        for weights_only in [true, false] {
            let group: Vec<&RequestedSave> = requested
                .iter()
                .filter(|save| self.strategies[save.strategy].weights_only == weights_only)
                .collect();
            if group.is_empty() {
                continue;
            }
            let places = self.reserve(&group, state, timestamp)?;
            if let (false, Some((path, _))) = (weights_only, places.first()) {
                self.newest_state = Some((state.position, path.clone()));
            }
            saves.push(SaveRequest {
                timestamp,
                epoch: state.position.epoch,
                global_step: state.position.global_step,
                training_time_seconds: state.training_time_seconds,
                speed: state.speed.map_or(serde_json::Value::Null, RunSpeed::to_json),
                metrics: state.own_metrics(),
                trainer_state: self.make_state(state, &group, &places)?,
                conditional: group.iter().all(|save| save.conditional),
                places,
                urgent: false,
                sections: with_output(snapshot(weights_only)),
            });
            self.newest_timestamp = Some(timestamp);
        }
        Ok(saves)
    }

    /// A path for each strategy of the group, with its reason.
    fn reserve(
        &mut self,
        group: &[&RequestedSave],
        state: &TrainerState,
        timestamp: Timestamp,
    ) -> Result<Vec<(PathBuf, String)>> {
        let position = state.position;
        let mut reservations = Vec::with_capacity(group.len());
        for save in group {
            let active = &self.strategies[save.strategy];
            let stem = match &active.template {
                Some(template) => state.file_stem(template)?,
                None => exception_stem(timestamp),
            };
            let (strategy, directory) = (active.name.clone(), active.directory.clone());
            let (step, score) = (position.global_step, save.score);
            reservations.push(Reservation { strategy, directory, stem, step, score });
        }
        let paths = self.writer.ledger().lock().reserve(&reservations);
        let unconditional = { reservations.into_iter().zip(&paths).zip(group) }
            .filter_map(|(reserved, save)| (!save.conditional).then_some(reserved));
        for (reservation, path) in unconditional {
            self.newest.insert(reservation.strategy, (path.clone(), Some(position.global_step)));
        }
        Ok(paths.into_iter().zip(group.iter().map(|save| save.reason.clone())).collect())
    }

    /// The trainer's part of a state, for the files that are written in the end.
    fn make_state(
        &self,
        state: &TrainerState,
        group: &[&RequestedSave],
        places: &[(PathBuf, String)],
    ) -> Result<MakeTrainerState> {
        let json = serde_json::to_value(state).map_err(|error| {
            burn_ckpt::Error::snapshot("the trainer's state cannot be written as JSON", error)
        })?;
        let named = group.iter().zip(places).map(|(save, (path, reason))| {
            let active = &self.strategies[save.strategy];
            SavedName {
                strategy: active.name.clone(),
                path: path.clone(),
                score: save.score,
                reason: reason.clone(),
            }
        });
        let modes = self.strategies.iter().filter_map(|active| Some((active.name.clone(), active.mode?)));
        let directory = self.checkpoint_dir.clone();
        Ok(saved_names::state_maker(json, named.collect(), modes.collect(), directory))
    }
}

/// The timestamp of the next save: always after the one before, also when the clock is set back.
fn after(newest: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let next = newest.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(1)).ok());
    next.map_or(now, |next| next.max(now))
}

/// The same, which tells the writer's thread the run that it works for.
fn with_output(make: MakeSections) -> MakeSections {
    let output = OutputHandle::of_this_thread();
    Box::new(move || {
        output.set_for_thread();
        make()
    })
}
