//! The lines of a log that a checkpoint's history gives: those of the finished epochs, and of the batches and
//! validations of the epoch in progress. They have no times.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use burn::train::metric::NumericEntry;
use burn::train::metric::store::Split as BurnsSplit;
use burn_ckpt::metrics_log::{Line, LogMark, Scope, Split};
use indexmap::IndexMap;

use super::position_marks::LogPosition;
use crate::metrics::history::{STEP, VALIDATED_STEP};
use crate::metrics::history_format::{EpochTable, History};
use crate::metrics::line_chunks::Lines;
use crate::metrics::table::{SharedMetrics, is_of_validation, value_of_batch};

/// What a run that resumes continues the log from.
pub(crate) struct ResumedLog<'a> {
    /// Up to where the checkpoint counts the log.
    pub(crate) mark: Option<&'a LogMark>,
    pub(crate) history: &'a History,
    pub(crate) position: LogPosition,
    /// Batches in an optimizer step.
    pub(crate) batches_per_step: u64,
}

/// A checkpoint's history, as lines.
pub(crate) struct HistoryLines {
    epochs: Arc<EpochTable>,
    /// Of the training batches of the epoch in progress, by burn's names of the metrics.
    entries: IndexMap<String, Lines>,
    validations: EpochTable,
    position: LogPosition,
    batches_per_step: u64,
    /// Has burn's names when the first line is logged.
    table: SharedMetrics,
}

impl fmt::Debug for HistoryLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryLines").field("position", &self.position).finish_non_exhaustive()
    }
}

impl HistoryLines {
    pub(super) fn new(resumed: &ResumedLog<'_>, table: SharedMetrics) -> Self {
        let history = resumed.history;
        Self {
            epochs: Arc::clone(&history.epochs),
            entries: history.entries.clone(),
            validations: history.validations.clone(),
            position: resumed.position,
            batches_per_step: resumed.batches_per_step.max(1),
            table,
        }
    }

    /// Whether the history has nothing that may give a line.
    pub(super) fn is_empty(&self) -> bool {
        self.epochs.is_empty() && self.validations.is_empty() && self.entries.is_empty()
    }

    /// The first batches of the epoch in progress whose lines it does not have.
    pub(super) fn missing_batches(&self) -> u64 {
        self.entries.values().map(|lines| lines.before().lines).max().unwrap_or(0)
    }

    /// Gives each line, with its line break.
    pub(super) fn try_for_each<E>(&self, mut give: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        self.try_for_each_line(|line| give(&format!("{line}\n")))
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let Ok(()) = self.try_for_each_line(|line| -> Result<(), Infallible> {
            lines.push(line);
            Ok(())
        });
        lines
    }

    fn try_for_each_line<E>(&self, mut give: impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        for epoch in 0..self.epochs.len() {
            self.epoch(epoch, &mut give)?;
        }
        let mut validations = self.validations().peekable();
        for (batch, metrics) in self.batches() {
            let step = self.step_of(batch);
            while let Some(validation) = validations.next_if(|validation| validation.step < step) {
                give(validation)?;
            }
            let line = Line::new(step, self.position.epoch, Split::Train, Scope::Batch, metrics);
            give(line.with_batch(batch))?;
        }
        validations.try_for_each(give)
    }

    /// The lines of a finished epoch. A history of an earlier version does not have its step: then there are
    /// none.
    fn epoch<E>(&self, number: usize, give: &mut impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        let values = self.epochs.values_of(number);
        let step = |name: &str| values.get(name).map(|step| *step as u64);
        let Some(last_step) = step(STEP) else { return Ok(()) };
        let of = |is_wanted: fn(&str) -> bool| -> IndexMap<String, f64> {
            let wanted = values.iter().filter(|(name, _)| is_wanted(name));
            wanted.map(|(name, value)| (name.clone(), *value)).collect()
        };
        let valid = of(is_of_validation);
        if let Some(step) = step(VALIDATED_STEP).filter(|_| !valid.is_empty()) {
            give(Line::new(step, number as u64, Split::Valid, Scope::Validation, valid))?;
        }
        let train = of(|name| !is_of_validation(name) && name != STEP && name != VALIDATED_STEP);
        if train.is_empty() {
            return Ok(());
        }
        give(Line::new(last_step, number as u64, Split::Train, Scope::Epoch, train))
    }

    /// The values of each batch of the epoch in progress.
    fn batches(&self) -> BTreeMap<u64, IndexMap<String, f64>> {
        let mut batches: BTreeMap<u64, IndexMap<String, f64>> = BTreeMap::new();
        for (metric, lines) in &self.entries {
            let Some(name) = self.table.lock().full_name(metric, &BurnsSplit::Train) else { continue };
            for (batch, line) in lines.iter().take_while(|(batch, _)| *batch <= self.position.batches) {
                if let Some(value) = NumericEntry::deserialize(line).ok().and_then(value_of_batch) {
                    batches.entry(batch).or_default().insert(name.clone(), value);
                }
            }
        }
        batches
    }

    /// The step of a batch, counted back from the last one. Steps that a callback has left out are not known.
    fn step_of(&self, batch: u64) -> u64 {
        let after = self.position.batches.saturating_sub(batch) / self.batches_per_step;
        self.position.step.saturating_sub(after)
    }

    /// The validations within the epoch in progress.
    fn validations(&self) -> impl Iterator<Item = Line> {
        (0..self.validations.len()).filter_map(|number| {
            let mut values = self.validations.values_of(number);
            let step = values.shift_remove(STEP)? as u64;
            Some(Line::new(step, self.position.epoch, Split::Valid, Scope::Validation, values))
        })
    }
}
