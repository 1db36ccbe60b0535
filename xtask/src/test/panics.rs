//! The messages of failed tests, without their backtraces: a log of all tests has some 50,000 lines.

use std::collections::VecDeque;

/// So many lines of a test are kept, the last ones.
const MAX_LINES: usize = 24;

/// The messages by test.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Panics {
    by_test: Vec<(String, VecDeque<String>)>,
    /// Whether the next line is of the last test, and whether it is of a message.
    in_test: bool,
    in_message: bool,
}

impl Panics {
    /// The messages of a test, by line.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_test = self.by_test.iter().filter(move |(test, _)| test == name);
        of_test.flat_map(|(_, lines)| lines.iter().map(String::as_str))
    }

    /// The next line of the output of cargo's test runner, which prints what failed tests have printed after
    /// the last test.
    pub(super) fn add(&mut self, line: &str) {
        let test = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(test) = test {
            self.by_test.push((test.to_owned(), VecDeque::new()));
            (self.in_test, self.in_message) = (true, false);
            return;
        }
        if line == "failures:" {
            self.in_test = false;
        }
        let begins = line.starts_with("thread '") && line.contains(" panicked at ");
        let ends = line == "stack backtrace:" || line.starts_with("note: ") || line.is_empty();
        self.in_message = begins || self.in_message && !ends;
        if let (true, true, Some((_, lines))) = (self.in_test, self.in_message, self.by_test.last_mut()) {
            if lines.len() == MAX_LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_each_failed_test_are_kept_without_backtraces() {
        let output = "test a::fails ... FAILED

failures:

---- a::fails stdout ----
epoch 1/2 loss 1.0

thread 'worker' (1) panicked at src/a.rs:1:2:
the device is gone
stack backtrace:
   0: begin

thread 'a::fails' (2) panicked at src/a.rs:3:4:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

failures:
    a::fails

test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let mut panics = Panics::default();
        output.lines().for_each(|line| panics.add(line));
        let expected = [
            "thread 'worker' (1) panicked at src/a.rs:1:2:",
            "the device is gone",
            "thread 'a::fails' (2) panicked at src/a.rs:3:4:",
            "assertion `left == right` failed",
            "  left: 1",
            " right: 2",
        ];
        assert_eq!(panics.of("a::fails").collect::<Vec<_>>(), expected);
        assert_eq!(panics.of("a::passes").count(), 0);
    }

    #[test]
    fn of_much_the_end_is_kept() {
        let mut panics = Panics::default();
        panics.add("---- a stdout ----");
        panics.add("thread 'a' (1) panicked at src/a.rs:1:2:");
        (0..100).for_each(|line| panics.add(&line.to_string()));
        let kept: Vec<&str> = panics.of("a").collect();
        assert_eq!((kept.len(), kept.last()), (MAX_LINES, Some(&"99")));
    }
}
