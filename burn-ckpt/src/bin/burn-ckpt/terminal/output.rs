//! The two outputs. A reader that goes away ends no verb, so that the exit status is that of the whole answer; and
//! what stands in a file reaches no terminal as a command to it.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use serde_json::Value;

use crate::answer::Failure;

/// Standard output, for results.
pub struct Output {
    to: BufWriter<StdoutLock<'static>>,
    /// Nobody reads it any more.
    is_closed: bool,
}

impl Output {
    pub fn new() -> Self {
        Self { to: BufWriter::new(io::stdout().lock()), is_closed: false }
    }

    /// One line, or several.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(format!("{}\n", printable(text.as_ref())).as_bytes())
    }

    /// A JSON value, pretty-printed.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.bytes(format!("{value:#}\n").as_bytes())
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let written = self.to.write_all(bytes);
        self.judge(written)
    }

    /// Lets the reader have what is written so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.to.flush();
        self.judge(flushed)
    }

    fn judge(&mut self, written: io::Result<()>) -> Result<(), Failure> {
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

/// A line on standard error. One that cannot be written is left out: there is nobody to tell.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&text.to_string()));
}

/// A text whose control characters, but for the ends of lines, are written out.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_command(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same for a text that must stay in one line.
pub fn in_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}
