//! Standard output and standard error. If the reader of standard output closes it, the verb continues, so
//! that the exit status is that of the whole answer.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use indexmap::IndexSet;
use serde_json::Value;

use crate::terminal::printable::{in_one_line, json_for_terminals, printable};
use crate::terminal::screen::Screen;
use crate::terminal::table::Table;
use crate::verb_result::Failure;

/// Standard output, for results.
pub struct Output {
    to: BufWriter<StdoutLock<'static>>,
    /// The reader has closed it.
    is_closed: bool,
    screen: Screen,
    /// The columns of tables for which the terminal has no room.
    dropped: IndexSet<String>,
}

impl Output {
    pub fn new() -> Self {
        Self {
            to: BufWriter::new(io::stdout().lock()),
            is_closed: false,
            screen: Screen::of_standard_output(),
            dropped: IndexSet::new(),
        }
    }

    /// Prints a table, on a terminal no wider than that. [`Output::flush`] says which columns were dropped.
    pub fn table(&mut self, table: Table, indent: usize) -> Result<(), Failure> {
        let fitted = table.fitted(indent, self.screen);
        self.dropped.extend(fitted.dropped);
        // The control characters of cells are escaped already; those that are left are colours.
        fitted.lines.iter().try_for_each(|line| self.bytes(format!("{line}\n").as_bytes()))
    }

    /// Prints a line, or several.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(format!("{}\n", printable(text.as_ref())).as_bytes())
    }

    /// Prints a JSON value, pretty-printed.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.bytes(format!("{}\n", json_for_terminals(&format!("{value:#}"))).as_bytes())
    }

    /// Prints a JSON value in one line, as programs read a stream of them.
    pub fn json_line(&mut self, value: &Value) -> Result<(), Failure> {
        self.bytes(format!("{}\n", json_for_terminals(&value.to_string())).as_bytes())
    }

    /// Whether the reader has closed it.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Prints a text that a program reads: unchanged in a file or a pipe, and on a terminal with escapes in
    /// place of characters that control it.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        match self.screen.width {
            Some(_) => self.bytes(printable(text).as_bytes()),
            None => self.bytes(text.as_bytes()),
        }
    }

    /// Prints bytes unchanged.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let written = self.to.write_all(bytes);
        self.check(written)
    }

    /// Passes what is buffered to the reader. Then says for which columns the terminal has no room.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.check(flushed)?;
        let dropped: Vec<String> = std::mem::take(&mut self.dropped).into_iter().collect();
        if !dropped.is_empty() {
            let columns = if dropped.len() == 1 { "column" } else { "columns" };
            say(format!(
                "note: the terminal has no room for the {columns} {}: widen it, or add --json",
                dropped.join(", ")
            ));
        }
        Ok(())
    }

    fn check(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::Other(format!("cannot write to standard output: {error}"))),
            Ok(()) => Ok(()),
        }
    }
}

/// Prints a line on standard error: one, also where a path or a library's message has line breaks. A failure
/// is ignored, as there is no other place to report it.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", in_one_line(&text.to_string()));
}
