//! The epochs that a checkpoint of a long run leaves to the run's log: their values, as its lines have them.

use std::sync::Arc;

use burn_ckpt::metrics_log::{Line, Scope};
use burn_ckpt::plumbing::epoch_blocks::{BLOCK, STEP, VALIDATED_STEP};

use super::History;
use super::epoch_table::{EpochTable, EpochValues};

impl History {
    /// How many of its first epochs are left to the log. They have no values here.
    pub(crate) fn left_to_log(&self) -> usize {
        self.left_to_log
    }

    /// Adds the values of the epochs that are left to the log. `lines` are those of the log, from its first
    /// one on.
    pub(crate) fn add_logged(&mut self, lines: impl Iterator<Item = Line>) {
        let left_to_log = self.left_to_log;
        let mut block = LoggedBlock::new(Arc::make_mut(&mut self.epochs));
        for line in lines {
            // Lines are in the order of their epochs.
            let Some(epoch) = usize::try_from(line.epoch).ok().filter(|epoch| *epoch < left_to_log) else {
                break;
            };
            block.add(epoch, line);
        }
        block.put();
    }
}

/// The epochs of a block, as far as they are read.
struct LoggedBlock<'a> {
    table: &'a mut EpochTable,
    number: usize,
    epochs: Vec<EpochValues>,
}

impl<'a> LoggedBlock<'a> {
    fn new(table: &'a mut EpochTable) -> Self {
        Self { table, number: 0, epochs: Vec::new() }
    }

    /// Adds the values of a line.
    fn add(&mut self, epoch: usize, line: Line) {
        let name = match line.scope {
            Scope::Epoch => STEP,
            Scope::Validation => VALIDATED_STEP,
            _ => return,
        };
        if epoch / BLOCK != self.number {
            self.put();
            self.number = epoch / BLOCK;
        }
        self.epochs.resize_with(BLOCK, EpochValues::new);
        let values = &mut self.epochs[epoch % BLOCK];
        // Of several validations the last one counts.
        values.extend(line.metrics);
        values.insert(name.to_owned(), line.step as f64);
    }

    /// Puts the epochs into the table.
    fn put(&mut self) {
        self.table.replace_block(self.number, std::mem::take(&mut self.epochs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::history_format::{HISTORY_TENSORS, KEPT_BLOCKS};
    use burn_ckpt::metrics_log::Split;

    const EPOCHS: usize = (KEPT_BLOCKS + 3) * BLOCK + 7;

    fn values_of(epoch: usize) -> EpochValues {
        let number = epoch as f64;
        let mut values = EpochValues::from([("train_loss".to_owned(), 1.0 / (number + 1.7))]);
        values.insert(STEP.to_owned(), 2.0 * (number + 1.0));
        // Every third epoch is validated.
        if epoch.is_multiple_of(3) {
            values.insert("val_loss".to_owned(), if epoch == 6 { f64::NAN } else { number.sqrt() });
            values.insert(VALIDATED_STEP.to_owned(), 2.0 * number + 1.0);
        }
        values
    }

    /// The lines of an epoch in a log, with a batch and a validation that another one follows.
    fn lines_of(epoch: usize) -> Vec<Line> {
        let values = values_of(epoch);
        let of = |name: &str| EpochValues::from([(name.to_owned(), values[name])]);
        let (step, number) = (2 * epoch as u64 + 2, epoch as u64);
        let batch = Line::new(step, number, Split::Train, Scope::Batch, of("train_loss")).with_batch(1);
        let mut lines = vec![batch];
        if values.contains_key("val_loss") {
            let early = EpochValues::from([("val_loss".to_owned(), 7.5)]);
            lines.push(Line::new(step - 2, number, Split::Valid, Scope::Validation, early));
            lines.push(Line::new(step - 1, number, Split::Valid, Scope::Validation, of("val_loss")));
        }
        lines.push(Line::new(step, number, Split::Train, Scope::Epoch, of("train_loss")));
        lines
    }

    fn whole() -> History {
        let mut epochs = EpochTable::default();
        (0..EPOCHS).for_each(|epoch| epochs.push(values_of(epoch)));
        History { epochs: Arc::new(epochs), ..History::default() }
    }

    fn is_same(one: &EpochValues, other: &EpochValues) -> bool {
        let bits = |values: &EpochValues| -> std::collections::BTreeMap<String, u64> {
            values.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
        };
        bits(one) == bits(other)
    }

    #[test]
    fn a_long_history_leaves_its_first_epochs_to_the_log_and_gets_them_back_from_there() {
        let section = whole().section(true).unwrap();
        let size = |name: &str| section.tensors.iter().find(|tensor| tensor.name == name);
        assert!(size(HISTORY_TENSORS[1]).is_none() && size("latest_epochs").is_some());
        let mut back = History::from_section(section).unwrap();
        assert_eq!((back.left_to_log(), back.epochs()), (3 * BLOCK, EPOCHS));
        assert!(back.epochs.values_of(3 * BLOCK - 1).is_empty());
        assert!(is_same(&back.epochs.values_of(3 * BLOCK), &values_of(3 * BLOCK)));
        back.add_logged((0..EPOCHS).flat_map(lines_of));
        for epoch in 0..EPOCHS {
            assert!(is_same(&back.epochs.values_of(epoch), &values_of(epoch)), "{epoch}");
        }
        // A log without some of them, as one that was written again, and lines in no order.
        let mut partly = History::from_section(whole().section(true).unwrap()).unwrap();
        partly.add_logged([BLOCK + 1, 5, 2 * BLOCK].into_iter().flat_map(lines_of));
        let known: Vec<usize> =
            (0..3 * BLOCK).filter(|epoch| !partly.epochs.values_of(*epoch).is_empty()).collect();
        assert_eq!(known, [5, BLOCK + 1, 2 * BLOCK]);
    }

    #[test]
    fn a_checkpoint_does_not_grow_with_a_run_that_is_logged() {
        let bytes = |epochs: usize, is_logged| -> usize {
            let mut history = whole();
            Arc::make_mut(&mut history.epochs).set_len(epochs);
            let section = history.section(is_logged).unwrap();
            section.tensors.iter().map(burn_ckpt::burn_pack::Tensor::byte_len).sum()
        };
        let full = (KEPT_BLOCKS + 1) * BLOCK;
        assert!(bytes(full, true) < bytes(full - BLOCK, true) + 100);
        assert!(bytes(full + 2 * BLOCK, true) < bytes(full, true) + 100);
        assert!(bytes(full + 2 * BLOCK, false) > bytes(full, false) + 10 * BLOCK);
    }

    #[test]
    fn epochs_whose_lines_a_log_cannot_have_stay_in_the_checkpoint() {
        let mut epochs = EpochTable::default();
        let loss = |epoch: usize| EpochValues::from([("train_loss".to_owned(), epoch as f64)]);
        // An earlier version has not noted the steps of its epochs.
        (0..10).for_each(|epoch| epochs.push(loss(epoch)));
        (10..EPOCHS).for_each(|epoch| epochs.push(values_of(epoch)));
        let history = History { epochs: Arc::new(epochs), ..History::default() };
        let loaded = History::from_section(history.section(false).unwrap()).unwrap();
        let again = History::from_section(loaded.section(true).unwrap()).unwrap();
        assert_eq!(again.left_to_log(), 0);
        assert_eq!(again.epochs.values_of(3), loss(3));
    }

    #[test]
    fn an_invalid_number_of_epochs_that_are_left_out_is_an_error() {
        for (left, reason) in
            [("7", "leaves 7 epochs"), ("25600000000", "epochs to the log"), ("-256", "-256")]
        {
            let mut section = whole().section(true).unwrap();
            let text = format!(r#"{{"epoch_metrics":["a"],"left_to_log":{left},"entries":{{}}}}"#);
            section.tensors[0] = super::super::tensor("metrics", text.into_bytes());
            let error = History::from_section(section).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
