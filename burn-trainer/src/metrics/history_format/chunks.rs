//! A list that grows without moving: a vector of millions of values would be in memory twice while it does.

/// Values in a chunk.
const CHUNK: usize = 32_768;

/// A list in chunks, of which all but the last are full.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Chunks<T> {
    pub(super) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn get(&self, place: usize) -> Option<T> {
        self.0.get(place / CHUNK)?.get(place % CHUNK).copied()
    }

    pub(super) fn last(&self) -> Option<T> {
        self.0.last()?.last().copied()
    }

    pub(super) fn push(&mut self, value: T) {
        match self.0.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(value),
            None => {
                // A short list takes no more than its values.
                let mut chunk = if self.0.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) };
                chunk.push(value);
                self.0.push(chunk);
            }
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        self.0.truncate(len.div_ceil(CHUNK));
        if let (Some(last), 1..) = (self.0.last_mut(), len % CHUNK) {
            last.truncate(len % CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list() {
        let mut list = Chunks::default();
        let count = 2 * CHUNK + 5;
        (0..count).for_each(|value| list.push(value));
        assert!((0..count).all(|place| list.get(place) == Some(place)));
        assert_eq!((list.len(), list.last(), list.get(count)), (count, Some(count - 1), None));
        for len in [2 * CHUNK + 1, 2 * CHUNK, CHUNK + 3, CHUNK, 1, 0] {
            list.truncate(len);
            assert_eq!((list.len(), list.last()), (len, len.checked_sub(1)));
            list.truncate(len + 1);
            assert_eq!(list.len(), len);
            let mut longer = list.clone();
            longer.push(7);
            assert_eq!((longer.len(), longer.get(len)), (len + 1, Some(7)));
        }
    }
}
