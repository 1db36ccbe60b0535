//! Lines for a terminal while a dashboard is drawn on it, until it can be printed on again.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr, stdout};

use parking_lot::{Mutex, MutexGuard};

/// The newest are kept. What is a warning is in the log as well.
const MAX_LINES: usize = 10_000;
/// How a warning begins.
pub(super) const WARNING: &str = "warning: ";

static HELD_BACK: Mutex<HeldBack> = Mutex::new(HeldBack::new());

/// The lines that are held back.
#[derive(Debug)]
pub(in crate::process) struct HeldBack {
    lines: VecDeque<String>,
    left_out: usize,
    warnings: Warnings,
}

/// What a dashboard shows of the lines that wait for its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::process) struct Warnings {
    pub(in crate::process) count: usize,
    /// Without the word.
    pub(in crate::process) first: Option<String>,
}

impl HeldBack {
    const fn new() -> Self {
        let warnings = Warnings { count: 0, first: None };
        Self { lines: VecDeque::new(), left_out: 0, warnings }
    }

    pub(in crate::process) fn lock() -> MutexGuard<'static, Self> {
        HELD_BACK.lock()
    }

    pub(super) fn count_warning(&mut self, warning: &str) {
        self.warnings.count += 1;
        self.warnings.first.get_or_insert_with(|| warning.to_owned());
    }

    pub(in crate::process) fn push(&mut self, line: String) {
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
            self.left_out += 1;
        }
        self.lines.push_back(line);
    }

    /// The lines, oldest first, which are held back no longer.
    pub(in crate::process) fn take(&mut self) -> Vec<String> {
        let Self { lines, left_out, .. } = std::mem::replace(self, Self::new());
        let note = (left_out > 0)
            .then(|| format!("{left_out} earlier lines that were printed below the dashboard are left out"));
        note.into_iter().chain(lines).collect()
    }
}

/// The warnings that wait.
pub(in crate::process) fn warnings() -> Warnings {
    HeldBack::lock().warnings.clone()
}

/// Writes lines that were held back to the terminal that was drawn on.
pub(in crate::process) fn write_held_back(lines: impl IntoIterator<Item = String>) {
    // Where standard error is not that terminal, only what was printed on standard output was held back.
    let is_terminal = stderr().is_terminal();
    for line in lines {
        if is_terminal { write_line(stderr(), &line) } else { write_line(stdout(), &line) }
    }
}

/// Writes a line. A closed pipe is not an error.
pub(super) fn write_line(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_the_others_counted() {
        let mut held_back = HeldBack::new();
        (0..MAX_LINES + 3).for_each(|number| held_back.push(number.to_string()));
        let lines = held_back.take();
        assert!(lines[0].starts_with("3 earlier lines"), "{}", lines[0]);
        assert_eq!((lines.len(), lines[1].as_str()), (MAX_LINES + 1, "3"));
        assert!(held_back.take().is_empty());
    }

    #[test]
    fn warnings_are_counted_and_the_first_is_known_until_they_are_printed() {
        let mut held_back = HeldBack::new();
        ["a", "b"].into_iter().for_each(|warning| held_back.count_warning(warning));
        assert_eq!(held_back.warnings, Warnings { count: 2, first: Some("a".to_owned()) });
        held_back.take();
        assert_eq!(held_back.warnings, Warnings::default());
    }
}
