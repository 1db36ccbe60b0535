//! Which lines of a run a tracker has. A process that is killed has sent lines beyond its last checkpoint,
//! which the resumed run logs again: with the same values, unless it resumes with other settings.

use std::collections::VecDeque;

use burn_ckpt::metrics_log::{Line, Scope, line_digest};
use serde::{Deserialize, Serialize};

/// The lines of a scope whose values are known: the last ones. State files of 1 MiB have room for them.
pub(super) const MAX_KNOWN: usize = 4_096;

/// The place of a line in its scope: the epoch and the number of its batch, the epoch and the step of a
/// validation, or the epoch. The lines of a scope are sent in their order.
type Place = (u64, u64);

/// The lines that were sent, by their places and, of the last ones, by their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentLines {
    /// The last place of each scope.
    batch: Option<Place>,
    validation: Option<Place>,
    epoch: Option<u64>,
    #[serde(default)]
    batch_values: KnownValues,
    #[serde(default)]
    validation_values: KnownValues,
    #[serde(default)]
    epoch_values: KnownValues,
    /// Whether only places are noted.
    #[serde(skip)]
    has_no_values: bool,
}

/// Places with the digest of the line that was sent, in the order of the places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KnownValues(VecDeque<(u64, u64, u64)>);

/// How a line compares with those that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// None was sent at its place.
    New,
    /// It was sent with these values.
    Same,
    /// Another line was sent there, or lines of places around it.
    Other,
    /// One was sent at its place, with values that are not known any more.
    Forgotten,
}

impl SentLines {
    /// None, of which only the places will be known: for files, which are written again.
    pub(super) fn without_values() -> Self {
        Self { has_no_values: true, ..Self::default() }
    }

    /// Whether a line was sent at this place, or at a later one of its scope.
    pub(super) fn reach(&self, line: &Line) -> bool {
        let place = place(line);
        match line.scope {
            Scope::Batch => self.batch.is_some_and(|last| place <= last),
            Scope::Validation => self.validation.is_some_and(|last| place <= last),
            Scope::Epoch => self.epoch.is_some_and(|last| place.0 <= last),
            _ => false,
        }
    }

    pub(super) fn compare(&self, line: &Line) -> Compared {
        let values = match line.scope {
            _ if !self.reach(line) => return Compared::New,
            Scope::Batch => &self.batch_values,
            Scope::Validation => &self.validation_values,
            _ => &self.epoch_values,
        };
        values.compare(line)
    }

    /// A line is sent.
    pub(super) fn note(&mut self, line: &Line) {
        let place = place(line);
        let values = match line.scope {
            Scope::Batch => {
                self.batch = Some(place);
                &mut self.batch_values
            }
            Scope::Validation => {
                self.validation = Some(place);
                &mut self.validation_values
            }
            Scope::Epoch => {
                self.epoch = Some(place.0);
                &mut self.epoch_values
            }
            _ => return,
        };
        if !self.has_no_values {
            values.note(place, digest(line));
        }
    }
}

impl KnownValues {
    fn compare(&self, line: &Line) -> Compared {
        let (epoch, number) = place(line);
        let found = self.0.binary_search_by_key(&(epoch, number), |(epoch, number, _)| (*epoch, *number));
        match found {
            Ok(index) if self.0[index].2 == digest(line) => Compared::Same,
            Err(0) => Compared::Forgotten,
            Ok(_) | Err(_) => Compared::Other,
        }
    }

    fn note(&mut self, (epoch, number): Place, digest: u64) {
        if self.0.len() == MAX_KNOWN {
            self.0.pop_front();
        }
        self.0.push_back((epoch, number, digest));
    }
}

/// Of the line's place and values. Its time and its speed are others when it is logged again.
fn digest(line: &Line) -> u64 {
    let mut line = line.clone();
    (line.time, line.speed) = (None, None);
    line_digest(line.to_string().as_bytes())
}

fn place(line: &Line) -> Place {
    let number = match line.scope {
        Scope::Batch => line.batch.unwrap_or_default(),
        Scope::Validation => line.step,
        _ => 0,
    };
    (line.epoch, number)
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
            let had: Vec<bool> = all.iter().map(|line| lines.compare(line) != Compared::New).collect();
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
        assert_eq!([0.5, 0.25].map(|value| lines.compare(&with(value))), [Compared::Same, Compared::Other]);
        let text = serde_json::to_string(&lines).unwrap();
        assert_eq!(serde_json::from_str::<SentLines>(&text).unwrap(), lines);
        (0..MAX_KNOWN as u64).for_each(|number| lines.note(&batch(1, number, number)));
        assert_eq!([0.5, 0.25].map(|value| lines.compare(&with(value))), [Compared::Forgotten; 2]);
        assert_eq!(lines.compare(&batch(1, 0, 0)), Compared::Same);
        assert_eq!(lines.batch_values.0.len(), MAX_KNOWN);
    }

    #[test]
    fn without_values_only_places_are_known() {
        let mut lines = SentLines::without_values();
        (1..=3).for_each(|number| lines.note(&batch(0, number, number)));
        assert!(lines.reach(&batch(0, 3, 3)) && !lines.reach(&batch(0, 4, 4)));
        assert_eq!(lines.compare(&batch(0, 4, 4)), Compared::New);
        assert!(lines.batch_values.0.is_empty());
    }

    #[test]
    fn a_line_between_two_that_were_sent_is_another_one() {
        let mut lines = SentLines::default();
        [4, 8].iter().for_each(|step| lines.note(&other(Scope::Validation, 0, *step)));
        let compared = [2, 4, 6, 10].map(|step| lines.compare(&other(Scope::Validation, 0, step)));
        assert_eq!(compared, [Compared::Forgotten, Compared::Same, Compared::Other, Compared::New]);
    }
}
