//! The validations of the epoch in progress: the values of each, and the lines of the last one.
//!
//! A resumed run writes them to its files again. Of the earlier ones the values are enough: a file of burn's
//! layout has the lines of one validation.

use std::sync::Arc;

use crate::metrics::history_format::{EpochTable, EpochValues, STEP};
use crate::metrics::line_chunks::Entries;

/// The validations of an epoch that are done.
#[derive(Debug, Default)]
pub(super) struct EpochValidations {
    /// The values of each, with its step.
    rows: EpochTable,
    /// The step of the last one, and its lines.
    last: Option<(u64, Arc<Entries>)>,
}

/// A validation that is under way.
#[derive(Debug, Default)]
pub(super) struct ValidationUnderWay {
    /// How many this process has begun, with this one.
    pub(super) number: u64,
    /// Whether its lines are kept.
    keeps_lines: bool,
    /// Whether it is only tried: nothing of it is kept.
    pub(super) is_trial: bool,
    lines: Entries,
    updates: u64,
}

impl EpochValidations {
    /// What a checkpoint has.
    pub(super) fn restored(rows: EpochTable, lines: Entries) -> Self {
        let mut restored = Self { rows, last: None };
        restored.last = restored.step(restored.rows.len()).map(|step| (step, Arc::new(lines)));
        restored
    }

    /// Adds one with its values. `lines` are those of one within the epoch.
    pub(super) fn push(&mut self, values: EpochValues, lines: Entries) {
        self.rows.push(values);
        self.last = self.step(self.rows.len()).map(|step| (step, Arc::new(lines)));
    }

    /// The values of those up to a step.
    pub(super) fn until(&self, step: Option<u64>) -> EpochTable {
        let Some(step) = step else { return EpochTable::default() };
        let later = (1..=self.rows.len()).rev().take_while(|count| self.step(*count) > Some(step)).count();
        let mut rows = self.rows.clone();
        rows.set_len(self.rows.len() - later);
        rows
    }

    /// The lines of the last one.
    pub(super) fn lines(&self) -> Arc<Entries> {
        self.last.as_ref().map(|(_, lines)| Arc::clone(lines)).unwrap_or_default()
    }

    /// The same, if it was at this step.
    pub(super) fn lines_of(&self, step: Option<u64>) -> Arc<Entries> {
        let is_last = self.last.as_ref().map(|(last, _)| *last) == step;
        if is_last { self.lines() } else { Arc::default() }
    }

    /// The values of each after the first `count`, as JSON.
    pub(super) fn rows_after(&self, count: usize) -> Vec<String> {
        (count..self.rows.len()).filter_map(|row| self.rows.to_json(row, STEP)).collect()
    }

    /// The step of the one with this number, counted from 1.
    fn step(&self, number: usize) -> Option<u64> {
        self.rows.value(STEP, number.checked_sub(1)?).map(|step| step as u64)
    }
}

impl ValidationUnderWay {
    /// The next one.
    pub(super) fn begin(&mut self, keeps_lines: bool) {
        *self = Self { number: self.number + 1, keeps_lines, ..Self::default() };
    }

    /// Begins or ends a trial validation, of which nothing is kept.
    pub(super) fn set_trial(&mut self, is_trial: bool) {
        self.is_trial = is_trial;
    }

    /// Adds the lines of an update, by burn's names of the metrics.
    pub(super) fn log<'a>(&mut self, lines: impl Iterator<Item = (&'a str, &'a str)>) {
        if !self.keeps_lines {
            return;
        }
        self.updates += 1;
        for (metric, line) in lines {
            self.lines.entry(metric.to_owned()).or_default().push(self.updates, line);
        }
    }

    pub(super) fn take_lines(&mut self) -> Entries {
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(step: u64) -> EpochValues {
        EpochValues::from([(STEP.to_owned(), step as f64), ("val_loss".to_owned(), 0.5)])
    }

    fn lines(text: &str) -> Entries {
        let mut under_way = ValidationUnderWay::default();
        under_way.begin(true);
        under_way.log([("Loss", text)].into_iter());
        under_way.take_lines()
    }

    #[test]
    fn a_state_has_the_validations_up_to_its_own() {
        let mut validations = EpochValidations::default();
        for step in [7, 14, 21] {
            validations.push(validation(step), lines(&step.to_string()));
        }
        let until = |step| (validations.until(step).len(), validations.lines_of(step).len());
        assert_eq!(
            [None, Some(6), Some(7), Some(20), Some(21)].map(until),
            [(0, 0), (0, 0), (1, 0), (2, 0), (3, 1)]
        );
        assert_eq!(validations.rows_after(2), [r#"{"step":21,"val_loss":0.5}"#]);
    }

    #[test]
    fn what_a_checkpoint_has_comes_back() {
        let mut validations = EpochValidations::default();
        validations.push(validation(7), lines("0.5,8"));
        let lines = Entries::clone(&validations.lines_of(Some(7)));
        let restored = EpochValidations::restored(validations.until(Some(7)), lines);
        assert_eq!((restored.rows_after(0).len(), restored.lines().len()), (1, 1));
        // Of another program, without steps.
        let strange: EpochTable =
            serde_json::from_str(r#"[{"val_loss":1},{"step":"NaN"},{"step":-3}]"#).unwrap();
        let strange = EpochValidations::restored(strange, Entries::default());
        assert_eq!(strange.until(Some(u64::MAX)).len(), 3);
    }
}
