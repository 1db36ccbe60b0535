//! The epochs of a run as a table, for the end of a dashboard, whose numbers go with its screen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use burn::train::metric::MetricId;
use indexmap::IndexMap;

use super::figures::{count, significant, span};
use super::table::{Column, left_out, table};

/// The newest are kept: a table of thousands would push everything else off the screen.
const MAX_EPOCHS: usize = 40;
/// burn's name of the training split.
const TRAIN: &str = "train";
const VALID: &str = "valid";

/// Gives the values of an epoch (burn's number) that an earlier process of the run has trained.
pub(crate) type EarlierEpochs = Arc<dyn Fn(usize) -> Vec<EarlierValue> + Send + Sync>;

/// A metric's value in such an epoch.
#[derive(Debug, Clone)]
pub(crate) struct EarlierValue {
    pub(crate) metric: MetricId,
    pub(crate) is_training: bool,
    pub(crate) value: f64,
}

/// What a split of an epoch came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct SplitValues {
    pub(crate) epoch: usize,
    pub(crate) split: String,
    /// The metrics that have a value: name with unit, and value.
    pub(crate) values: Vec<(String, f64)>,
    /// `None` where it is not known.
    pub(crate) time: Option<Duration>,
}

/// The epochs so far. A split that comes again within an epoch replaces its values.
#[derive(Debug, Default)]
pub(crate) struct EpochsTable {
    rows: VecDeque<Row>,
    earlier: usize,
    /// Every metric of a split that any epoch has: whether it is of the training, by its heading.
    metrics: IndexMap<String, bool>,
}

#[derive(Debug, Default)]
struct Row {
    epoch: usize,
    values: IndexMap<String, f64>,
    time: Option<Duration>,
}

impl EpochsTable {
    /// Adds what is known of the first `completed` epochs, of earlier processes of the run.
    pub(crate) fn add_earlier(
        &mut self,
        completed: usize,
        values: impl Fn(usize, bool) -> Vec<(String, f64)>,
    ) {
        for epoch in completed.saturating_sub(MAX_EPOCHS) + 1..=completed {
            for (split, is_training) in [(TRAIN, true), (VALID, false)] {
                let values = values(epoch, is_training);
                self.add(SplitValues { epoch, split: split.to_owned(), values, time: None });
            }
        }
        self.earlier = completed - self.rows.len();
    }

    pub(crate) fn add(&mut self, split: SplitValues) {
        let SplitValues { epoch, split, values, time } = split;
        if values.is_empty() {
            return;
        }
        if self.rows.back().is_none_or(|row| row.epoch != epoch) {
            self.rows.push_back(Row { epoch, ..Row::default() });
        }
        if self.rows.len() > MAX_EPOCHS {
            self.rows.pop_front();
            self.earlier += 1;
        }
        let Some(row) = self.rows.back_mut() else { return };
        let is_training = split == TRAIN;
        for (name, value) in values {
            let heading = format!("{} {name}", if is_training { TRAIN } else { "val" });
            self.metrics.entry(heading.clone()).or_insert(is_training);
            row.values.insert(heading, value);
        }
        row.time = time.map_or(row.time, |time| Some(row.time.unwrap_or_default() + time));
    }

    /// The lines for a terminal of this width. `log` is the command that shows all of it.
    pub(crate) fn lines(&self, width: Option<usize>, log: &str) -> Vec<String> {
        let columns = self.columns();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.cells(row)).collect();
        let mut lines = table(&columns, &rows, width);
        let without = left_out(&columns, &rows, width);
        if self.earlier > 0 || !without.is_empty() {
            let earlier = (self.earlier > 0).then(|| count(self.earlier as u64, "earlier epoch"));
            let what: Vec<String> = earlier.into_iter().chain(without).collect();
            lines.push(format!("without {}: {log}", what.join(", ")));
        }
        lines
    }

    /// The last ones of the training are dropped first, then the time, then those of the validation.
    fn columns(&self) -> Vec<Column> {
        let validated = self.metrics.values().filter(|is_training| !**is_training).count();
        let (mut validation, mut training) = (0, validated + 1);
        let metrics = self.metrics.iter().map(|(heading, is_training)| {
            let place = if *is_training { &mut training } else { &mut validation };
            *place += 1;
            Column::number(heading, *place)
        });
        let metrics: Vec<Column> = metrics.collect();
        let time = Column::number("time", validated + 1);
        [Column::number("epoch", 0)].into_iter().chain(metrics).chain([time]).collect()
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let values = self.metrics.keys();
        let values =
            values.map(|heading| row.values.get(heading).map_or("-".to_owned(), |it| significant(*it)));
        [row.epoch.to_string()]
            .into_iter()
            .chain(values)
            .chain([row.time.map_or("-".to_owned(), |time| span(time.as_secs_f64()))])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "burn-ckpt log logs/r1";

    fn split(epoch: usize, split: &str, values: &[(&str, f64)]) -> SplitValues {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        SplitValues { epoch, split: split.to_owned(), values, time: Some(Duration::from_secs(2)) }
    }

    fn two_epochs() -> EpochsTable {
        let mut epochs = EpochsTable::default();
        epochs.add(split(1, "train", &[("loss", 0.5), ("accuracy %", 50.0), ("learning rate", 1e-4)]));
        // A validation within the epoch, and that at its end, of two sets.
        epochs.add(split(1, "valid", &[("loss", 0.7)]));
        epochs.add(split(1, "valid", &[("loss", 0.6)]));
        epochs.add(split(1, "valid", &[("hard loss", 0.9)]));
        epochs.add(split(2, "train", &[("loss", f64::NAN), ("accuracy %", 75.0), ("learning rate", 1e-5)]));
        epochs
    }

    #[test]
    fn an_epoch_is_a_line_with_the_newest_values_of_each_split() {
        let expected = [
            "  epoch  train loss  train accuracy %  train learning rate  val loss  val hard loss  time",
            "      1      0.5000             50.00             1.000e-4    0.6000         0.9000   8 s",
            "      2         NaN             75.00             1.000e-5         -              -   2 s",
        ];
        assert_eq!(two_epochs().lines(None, LOG), expected);
        assert_eq!(two_epochs().lines(Some(100), LOG), expected);
        assert!(EpochsTable::default().lines(Some(80), LOG).is_empty());
    }

    #[test]
    fn columns_without_room_are_named_and_those_of_the_validation_stay_longest() {
        for (width, heading, without) in [
            (
                80,
                "  epoch  train loss  train accuracy %  val loss  val hard loss  time",
                "train learning rate",
            ),
            (
                60,
                "  epoch  train loss  val loss  val hard loss  time",
                "train accuracy %, train learning rate",
            ),
            (
                40,
                "  epoch  val loss  val hard loss  time",
                "train loss, train accuracy %, train learning rate",
            ),
            (
                8,
                "  epoch",
                "train loss, train accuracy %, train learning rate, val loss, val hard loss, time",
            ),
        ] {
            let lines = two_epochs().lines(Some(width), LOG);
            assert_eq!(lines[0], heading, "{width}");
            assert_eq!(*lines.last().unwrap(), format!("without {without}: {LOG}"));
        }
    }

    #[test]
    fn epochs_of_earlier_processes_come_first_without_their_times() {
        let mut epochs = EpochsTable::default();
        epochs.add_earlier(2, |epoch, is_training| match is_training {
            true => vec![("loss".to_owned(), 3.0 / epoch as f64)],
            false => Vec::new(),
        });
        epochs.add(split(3, "train", &[("loss", 1.0)]));
        epochs.add(split(3, "valid", &[("loss", 1.5)]));
        let expected = [
            "  epoch  train loss  val loss  time",
            "      1       3.000         -     -",
            "      2       1.500         -     -",
            "      3       1.000     1.500   4 s",
        ];
        assert_eq!(epochs.lines(None, LOG), expected);
        // The values of the first ones are not known.
        let mut epochs = EpochsTable::default();
        epochs.add_earlier(MAX_EPOCHS + 5, |epoch, _| match epoch > 8 {
            true => vec![("loss".to_owned(), 1.0)],
            false => Vec::new(),
        });
        let lines = epochs.lines(None, LOG);
        assert!(lines[1].starts_with("      9"), "{}", lines[1]);
        assert_eq!(*lines.last().unwrap(), format!("without 8 earlier epochs: {LOG}"));
    }

    #[test]
    fn the_newest_epochs_are_shown_and_the_others_counted() {
        let mut epochs = EpochsTable::default();
        (1..=MAX_EPOCHS + 3).for_each(|epoch| epochs.add(split(epoch, "train", &[("loss", 1.0)])));
        let lines = epochs.lines(Some(80), LOG);
        assert!(lines[1].starts_with("      4"), "{}", lines[1]);
        assert_eq!(*lines.last().unwrap(), format!("without 3 earlier epochs: {LOG}"));
        assert_eq!(lines.len(), MAX_EPOCHS + 2);
        let mut epochs = EpochsTable::default();
        (1..=MAX_EPOCHS + 1).for_each(|epoch| epochs.add(split(epoch, "train", &[("loss", 1.0)])));
        let lines = epochs.lines(Some(80), LOG);
        assert_eq!(*lines.last().unwrap(), format!("without 1 earlier epoch: {LOG}"));
    }
}
