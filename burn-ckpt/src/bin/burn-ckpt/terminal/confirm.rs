//! The question before something is removed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::terminal::printable::in_one_line;
use crate::verb_result::Failure;

/// Asks on the terminal whether to remove what was found at a place. An error without a terminal.
pub fn is_confirmed(found: &str, place: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!(
            "there is no terminal to ask on whether to remove {place}: add --yes"
        )));
    }
    let failed = |error: io::Error| Failure::Other(format!("cannot ask: {error}"));
    let mut terminal = io::stderr().lock();
    write!(terminal, "remove {}? [y/N] ", in_one_line(found))
        .and_then(|()| terminal.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
