//! Saves for the writer of checkpoints, without a training.

use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    CheckpointWriter, Ledger, Limits, Reservation, RunDescription, SaveRequest, WriterEnd,
};
use burn_ckpt::retention::{KeepRule, MetricMode, TopK};
use burn_ckpt::{Contents, Section};
use burn_trainer::config::WhenBusy;
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;

/// A save of a state with one section, the model, after an optimizer step. `model` is called on the writer's
/// thread.
#[must_use]
pub fn save_request(
    step: u64,
    places: Vec<(PathBuf, String)>,
    model: impl FnOnce() -> Section + Send + 'static,
) -> SaveRequest {
    SaveRequest {
        timestamp: Timestamp::now(),
        epoch: 0,
        global_step: step,
        training_time_seconds: 0.0,
        speed: Value::Null,
        metrics: IndexMap::new(),
        trainer_state: Box::new(|_| Value::Null),
        places,
        conditional: false,
        urgent: false,
        sections: Box::new(move || Ok(Contents::default().with_section(Section::MODEL, model()).sections)),
    }
}

/// The writer of a run whose best checkpoint is replaced by each save.
pub struct BestWriter {
    writer: CheckpointWriter,
    /// Where the checkpoints are.
    pub directory: PathBuf,
}

impl BestWriter {
    /// Starts the writer.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(run: &Path, limits: Limits) -> Self {
        let checkpoint_dir = run.join("checkpoint");
        let mut ledger = Ledger::default();
        let link = Some(checkpoint_dir.join("best_val_loss.ckpt"));
        ledger.register("best", KeepRule::Best(MetricMode::Max, TopK::Count(1)), link, []);
        let description = RunDescription { limits, ..RunDescription::new("r1", Timestamp::now()) };
        let writer = CheckpointWriter::start(description, ledger, 1)
            .unwrap_or_else(|error| panic!("the writer cannot be started: {error}"));
        Self { writer, directory: checkpoint_dir.join("best") }
    }

    /// Saves a model after an optimizer step, as `change` leaves the save. Waits while the writer is busy.
    ///
    /// # Panics
    ///
    /// When the save is not taken.
    pub fn save(
        &self,
        step: u64,
        model: impl FnOnce() -> Section + Send + 'static,
        change: impl FnOnce(&mut SaveRequest),
    ) {
        let reservation = Reservation {
            strategy: "best".to_owned(),
            directory: self.directory.clone(),
            stem: format!("step={step}"),
            step,
            score: step as f64,
        };
        let path = self.writer.ledger().lock().reserve(&[reservation]).remove(0);
        let mut save = save_request(step, vec![(path, "best".to_owned())], model);
        change(&mut save);
        let submitted = self.writer.submit(vec![save], WhenBusy::Wait);
        submitted.map(drop).unwrap_or_else(|error| panic!("step {step} is not saved: {error}"));
    }

    /// Ends the writer when all is written.
    #[must_use]
    pub fn finish(self) -> WriterEnd {
        self.writer.finish(None)
    }
}
