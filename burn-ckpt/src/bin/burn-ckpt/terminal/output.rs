//! Standard output and standard error. If the reader of standard output closes it, the verb continues, so that the exit status is
//! that of the whole answer. Control characters in texts from files are escaped, so that they cannot control the terminal.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use serde_json::Value;

use crate::answer::Failure;

/// Standard output, for results.
pub struct Output {
    to: BufWriter<StdoutLock<'static>>,
    /// The reader has closed it.
    is_closed: bool,
}

impl Output {
    pub fn new() -> Self {
        Self { to: BufWriter::new(io::stdout().lock()), is_closed: false }
    }

    /// Prints a line, or several.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(format!("{}\n", printable(text.as_ref())).as_bytes())
    }

    /// Prints a JSON value, pretty-printed.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.bytes(format!("{}\n", json_for_terminals(&format!("{value:#}"))).as_bytes())
    }

    /// Prints bytes unchanged.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let written = self.to.write_all(bytes);
        self.check(written)
    }

    /// Passes what is buffered to the reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.check(flushed)
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

/// Prints a line on standard error. A failure is ignored, as there is no other place to report it.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&text.to_string()));
}

/// A text with its control characters escaped, except for line ends.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// JSON with those control characters escaped that JSON may have: from U+007F on.
fn json_for_terminals(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c.is_control() && c != '\n';
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if is_escaped(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same with line ends escaped too.
pub fn in_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}
