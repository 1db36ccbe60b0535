//! Making [`Metadata`] by hand: `Metadata::new` and a `with_` method for each field that a save does not fill
//! in.

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::metadata::{Metadata, ShardInfo};
use crate::format::run_start::RunStart;

impl Metadata {
    /// The metadata of a state that was taken at a time, with everything else empty.
    ///
    /// [`Contents::save`](crate::Contents::save) fills in what follows from the file: `checkpoint_path`,
    /// `hparams`, `checkpoint_size_bytes`, `checkpoint_checksum` and `tensors`.
    #[must_use]
    pub fn new(timestamp: Timestamp) -> Self {
        Self {
            run_id: String::new(),
            name: None,
            project: None,
            checkpoint_path: String::new(),
            checkpoint_timestamp: timestamp,
            start_timestamp: timestamp,
            epoch: 0,
            global_step: 0,
            training_time_seconds: 0.0,
            speed: Value::Null,
            metrics: IndexMap::new(),
            trainer_config: Value::Null,
            hparams: Value::Null,
            model: Value::Null,
            starts: Vec::new(),
            environment: Value::Null,
            reason: String::new(),
            checkpoint_size_bytes: 0,
            checkpoint_checksum: String::new(),
            shards: Vec::new(),
            non_finite: None,
            tensors: IndexMap::new(),
        }
    }

    /// Sets the run that wrote the checkpoint.
    #[must_use]
    pub fn with_run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = run_id.into();
        self
    }

    /// Sets the name of the run for humans.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the project that the run belongs to.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// Sets when the state was taken.
    #[must_use]
    pub fn with_checkpoint_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.checkpoint_timestamp = timestamp;
        self
    }

    /// Sets when the run started.
    #[must_use]
    pub fn with_start_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.start_timestamp = timestamp;
        self
    }

    /// Sets the epoch in progress, counted from 0.
    #[must_use]
    pub fn with_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Sets the number of optimizer steps done.
    #[must_use]
    pub fn with_global_step(mut self, step: u64) -> Self {
        self.global_step = step;
        self
    }

    /// Sets the seconds spent training up to this state.
    #[must_use]
    pub fn with_training_time_seconds(mut self, seconds: f64) -> Self {
        self.training_time_seconds = seconds;
        self
    }

    /// Sets the metrics, in the order in which they are to be shown.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl IntoIterator<Item = (impl Into<String>, f64)>) -> Self {
        self.metrics = metrics.into_iter().map(|(name, value)| (name.into(), value)).collect();
        self
    }

    /// Sets the configuration of the trainer.
    #[must_use]
    pub fn with_trainer_config(mut self, config: Value) -> Self {
        self.trainer_config = config;
        self
    }

    /// Sets how fast the run trained.
    #[must_use]
    pub fn with_speed(mut self, speed: Value) -> Self {
        self.speed = speed;
        self
    }

    /// Sets the description of the model's modules.
    #[must_use]
    pub fn with_model(mut self, model: Value) -> Self {
        self.model = model;
        self
    }

    /// Sets the description of the machine and the software.
    #[must_use]
    pub fn with_environment(mut self, environment: Value) -> Self {
        self.environment = environment;
        self
    }

    /// Sets why the checkpoint was saved.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets every start of the run, oldest first.
    #[must_use]
    pub fn with_starts(mut self, starts: impl IntoIterator<Item = RunStart>) -> Self {
        self.starts = starts.into_iter().collect();
        self
    }

    /// Sets the other files of a checkpoint of several files.
    #[must_use]
    pub fn with_shards(mut self, shards: impl IntoIterator<Item = ShardInfo>) -> Self {
        self.shards = shards.into_iter().collect();
        self
    }

    /// Sets which tensors have values that are not finite.
    #[must_use]
    pub fn with_non_finite(mut self, non_finite: NonFiniteTensors) -> Self {
        self.non_finite = Some(non_finite);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What [`Contents::save`](crate::Contents::save) fills in.
    const OF_THE_SAVE: [&str; 5] =
        ["checkpoint_path", "hparams", "checkpoint_size_bytes", "checkpoint_checksum", "tensors"];

    #[test]
    fn every_field_that_a_save_does_not_fill_in_has_a_method() {
        let now = Timestamp::UNIX_EPOCH;
        let shard = ShardInfo::unknown(0, "");
        // With what is left out where it is empty.
        let metadata = Metadata::new(now)
            .with_speed(json!(1))
            .with_model(json!(1))
            .with_starts([RunStart::new(now, "r1")])
            .with_shards([shard])
            .with_non_finite(NonFiniteTensors::default());
        let fields = serde_json::to_value(metadata).unwrap();
        let methods = include_str!("builder.rs");
        for field in fields.as_object().unwrap().keys() {
            let has_method = methods.contains(&format!("pub fn with_{field}(mut self"));
            assert_eq!(has_method, !OF_THE_SAVE.contains(&field.as_str()), "{field}");
        }
    }
}
