//! Which lines of a run a tracker has. A process that is killed has sent lines beyond its last checkpoint,
//! which the resumed run logs again: with the same values, unless it resumes with other settings.

use std::collections::VecDeque;

use burn_ckpt::metrics_log::{Line, Scope, line_digest};
use serde::{Deserialize, Serialize};

/// The lines whose values are known. One that was sent before them counts as another one when it comes again.
const MAX_KNOWN: usize = 8_192;

/// The last line of each scope that was sent. The lines of a scope are sent in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentLines {
    /// Epoch and number of the batch.
    batch: Option<(u64, u64)>,
    /// Epoch and step.
    validation: Option<(u64, u64)>,
    epoch: Option<u64>,
    /// Digests of the lines that were sent last, with their values.
    #[serde(default)]
    known: VecDeque<u64>,
}

impl SentLines {
    /// Whether a line of this place was sent.
    pub(super) fn has(&self, line: &Line) -> bool {
        let Line { epoch, step, .. } = *line;
        match line.scope {
            Scope::Batch => self.batch.is_some_and(|sent| (epoch, number(line)) <= sent),
            Scope::Validation => self.validation.is_some_and(|sent| (epoch, step) <= sent),
            Scope::Epoch => self.epoch.is_some_and(|sent| epoch <= sent),
            _ => false,
        }
    }

    /// Whether a line was sent with the same values, as far as that is known.
    pub(super) fn knows(&self, line: &Line) -> bool {
        self.known.contains(&digest(line))
    }

    /// A line is sent.
    pub(super) fn note(&mut self, line: &Line) {
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(digest(line));
        let Line { epoch, step, .. } = *line;
        match line.scope {
            Scope::Batch => self.batch = Some((epoch, number(line))),
            Scope::Validation => self.validation = Some((epoch, step)),
            Scope::Epoch => self.epoch = Some(epoch),
            _ => {}
        }
    }
}

/// Of the line's place and values. Its time and its speed are others when it is logged again.
fn digest(line: &Line) -> u64 {
    let mut line = line.clone();
    (line.time, line.speed) = (None, None);
    line_digest(line.to_string().as_bytes())
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

    #[test]
    fn a_line_is_known_by_its_values_without_its_clock_until_many_others_were_sent() {
        let with = |value: f64| {
            let metrics = IndexMap::from([("train_loss".to_owned(), value)]);
            Line::new(1, 0, Split::Train, Scope::Batch, metrics).with_batch(1)
        };
        let mut lines = SentLines::default();
        lines.note(&with(0.5).with_time(jiff::Timestamp::now()));
        assert!(lines.knows(&with(0.5)) && !lines.knows(&with(0.25)));
        let text = serde_json::to_string(&lines).unwrap();
        assert_eq!(serde_json::from_str::<SentLines>(&text).unwrap(), lines);
        (0..MAX_KNOWN as u64).for_each(|number| lines.note(&batch(1, number, number)));
        assert!(lines.has(&with(0.5)) && !lines.knows(&with(0.5)));
        assert_eq!(lines.known.len(), MAX_KNOWN);
    }
}
