//! The lines that one metric has logged in an epoch, as they stand in its file.
//!
//! An epoch can have millions of batches, and every save copies the lines. So lines are kept in chunks, each
//! in one piece of text. A full chunk never changes again, and copies share it. A checkpoint has the newest
//! chunks.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::earlier_lines::EarlierLines;

/// Lines in a chunk.
const CHUNK: usize = 1024;

/// A metric's lines, each with the number of its batch, counted from 1. The epoch's final value has the
/// number after the last batch.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    full: Vec<Arc<Chunk>>,
    open: Chunk,
}

/// The lines of burn's metric files by burn's names of the metrics.
pub(super) type Entries = IndexMap<String, Lines>;

#[derive(Clone, Default)]
struct Chunk {
    /// What the lines before it add up to.
    before: EarlierLines,
    /// The number of the first line.
    first: u64,
    /// The number of every line. Empty while each line has the number after the line before, as in almost all
    /// metrics.
    numbers: Vec<u64>,
    /// Where each line ends in the text.
    ends: Vec<usize>,
    text: String,
}

impl Chunk {
    fn push(&mut self, number: u64, line: &str) {
        let count = self.ends.len();
        if count == 0 {
            self.first = number;
        } else if !self.numbers.is_empty() || self.first.checked_add(count as u64) != Some(number) {
            for next in self.numbers.len()..count {
                self.numbers.push(self.number(next));
            }
            self.numbers.push(number);
        }
        self.text.push_str(line);
        self.ends.push(self.text.len());
    }

    fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).copied().unwrap_or_else(|| self.first.saturating_add(index as u64))
    }

    fn last(&self) -> Option<u64> {
        self.ends.len().checked_sub(1).map(|index| self.number(index))
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lines = starts.zip(&self.ends).map(|(start, end)| self.text.get(start..*end).unwrap_or_default());
        lines.enumerate().map(|(index, line)| (self.number(index), line))
    }
}

impl Lines {
    pub(super) fn push(&mut self, number: u64, line: &str) {
        self.open.push(number, line);
        if self.open.ends.len() == CHUNK {
            let mut full = std::mem::take(&mut self.open);
            full.text.shrink_to_fit();
            self.open.before = full.before;
            full.iter().for_each(|(_, line)| self.open.before.add(line));
            self.full.push(Arc::new(full));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(self.open.iter())
    }

    /// The same lines after others.
    pub(super) fn after(before: EarlierLines, lines: &Self) -> Self {
        let mut all = Self { full: Vec::new(), open: Chunk { before, ..Chunk::default() } };
        lines.iter().for_each(|(number, line)| all.push(number, line));
        all
    }

    /// What the lines before the first one add up to.
    pub(super) fn before(&self) -> EarlierLines {
        self.full.first().map_or(self.open.before, |first| first.before)
    }

    /// Leaves out all but the newest `chunks` full chunks, and what follows them.
    pub(super) fn keep_newest(&mut self, chunks: usize) {
        self.full.drain(..self.full.len().saturating_sub(chunks));
    }

    /// The lines of the first `number` batches. Copies at most one chunk.
    pub(super) fn until(&self, number: u64) -> Self {
        let within = |chunk: &Chunk| chunk.last().is_none_or(|last| last <= number);
        let full: Vec<_> = self.full.iter().take_while(|chunk| within(chunk)).cloned().collect();
        let next = self.full.get(full.len()).map_or(&self.open, |chunk| &**chunk);
        let mut open = Chunk { before: next.before, ..Chunk::default() };
        next.iter()
            .take_while(|(line, _)| *line <= number)
            .for_each(|(number, line)| open.push(number, line));
        Self { full, open }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.open.ends.is_empty()
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Self) -> bool {
        self.before() == other.before() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lines of a metric with their batches' numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Lines, A::Error> {
        let mut lines = Lines::default();
        let mut last = 1;
        while let Some((number, line)) = sequence.next_element::<(u64, String)>()? {
            // Equal numbers are valid: two metrics of one name log a line each.
            if number < last {
                return Err(A::Error::custom(format!("a line of batch {number} where {last} is the least")));
            }
            last = number;
            lines.push(number, &line);
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Lines {
        let mut lines = Lines::default();
        (1..=count).for_each(|number| lines.push(number, &format!("0.{number},32")));
        lines
    }

    #[test]
    fn lines_end_at_any_batch_and_come_back_from_json() {
        let chunk = CHUNK as u64;
        for until in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 5, u64::MAX] {
            let cut = lines(3 * chunk + 5).until(until);
            assert_eq!(cut, lines(until.min(3 * chunk + 5)), "{until}");
            assert_eq!(cut.is_empty(), until == 0);
            let json = serde_json::to_string(&cut).unwrap();
            assert_eq!(serde_json::from_str::<Lines>(&json).unwrap(), cut);
        }
        assert_eq!(serde_json::to_string(&lines(2)).unwrap(), r#"[[1,"0.1,32"],[2,"0.2,32"]]"#);
    }

    #[test]
    fn a_copy_shares_what_is_full_and_does_not_change() {
        let mut all = lines(2 * CHUNK as u64 + 1);
        let copy = all.clone();
        all.push(u64::MAX, "new");
        assert_eq!(copy, lines(2 * CHUNK as u64 + 1));
        assert!(copy.full.iter().zip(&all.full).all(|(one, other)| Arc::ptr_eq(one, other)));
    }

    #[test]
    fn numbers_may_have_gaps_and_come_twice() {
        for numbers in
            [vec![1, 2, 5, 6, 6, 9], vec![3, 3], vec![7, 9, 10], vec![u64::MAX - 1, u64::MAX, u64::MAX]]
        {
            let mut lines = Lines::default();
            numbers.iter().for_each(|number| lines.push(*number, &number.to_string()));
            let read: Vec<_> = lines.iter().map(|(number, line)| (number, line.to_owned())).collect();
            let expected: Vec<_> = numbers.iter().map(|number| (*number, number.to_string())).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn numbers_that_descend_or_begin_at_0_are_errors() {
        for json in [r#"[[2,"a"],[1,"b"]]"#, r#"[[0,"a"]]"#, r#"[[-1,"a"]]"#, r#"[[1]]"#, r#"[[1.5,"a"]]"#] {
            assert!(serde_json::from_str::<Lines>(json).is_err(), "{json}");
        }
    }
}
