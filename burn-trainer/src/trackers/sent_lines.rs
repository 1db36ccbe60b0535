//! Which lines of a run a tracker has. A process that is killed has sent lines beyond its last checkpoint,
//! which the resumed run logs again, with the same values.

use burn_ckpt::metrics_log::{Line, Scope};
use serde::{Deserialize, Serialize};

/// The last line of each scope that was sent. The lines of a scope are sent in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentLines {
    /// Epoch and number of the batch.
    batch: Option<(u64, u64)>,
    /// Epoch and step.
    validation: Option<(u64, u64)>,
    epoch: Option<u64>,
}

impl SentLines {
    /// Whether a line was sent.
    pub(super) fn has(&self, line: &Line) -> bool {
        let Line { epoch, step, .. } = *line;
        match line.scope {
            Scope::Batch => self.batch.is_some_and(|sent| (epoch, number(line)) <= sent),
            Scope::Validation => self.validation.is_some_and(|sent| (epoch, step) <= sent),
            Scope::Epoch => self.epoch.is_some_and(|sent| epoch <= sent),
            _ => false,
        }
    }

    /// A line is sent.
    pub(super) fn note(&mut self, line: &Line) {
        let Line { epoch, step, .. } = *line;
        match line.scope {
            Scope::Batch => self.batch = Some((epoch, number(line))),
            Scope::Validation => self.validation = Some((epoch, step)),
            Scope::Epoch => self.epoch = Some(epoch),
            _ => {}
        }
    }
}

fn number(line: &Line) -> u64 {
    line.batch.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::metrics_log::Split;
    use indexmap::IndexMap;

    fn batch(epoch: u64, step: u64, batch: u64) -> Line {
        Line::new(step, epoch, Split::Train, Scope::Batch, IndexMap::new()).with_batch(batch)
    }

    fn other(scope: Scope, epoch: u64, step: u64) -> Line {
        Line::new(step, epoch, Split::Valid, scope, IndexMap::new())
    }

    #[test]
    fn each_line_is_sent_once_however_the_scopes_are_mixed() {
        // Four batches to a step: the last two of an epoch wait for those of the next one.
        let all = [
            other(Scope::Validation, 0, 0),
            batch(0, 1, 1),
            batch(0, 1, 2),
            other(Scope::Validation, 0, 1),
            batch(0, 2, 3),
            other(Scope::Validation, 0, 2),
            other(Scope::Epoch, 0, 1),
            batch(1, 2, 1),
            other(Scope::Epoch, 1, 2),
        ];
        for sent in 0..=all.len() {
            let mut lines = SentLines::default();
            all[..sent].iter().for_each(|line| lines.note(line));
            let had: Vec<bool> = all.iter().map(|line| lines.has(line)).collect();
            let expected: Vec<bool> = (0..all.len()).map(|index| index < sent).collect();
            assert_eq!(had, expected, "{sent}");
        }
    }
}
