//! What this crate says on standard error: notes, warnings, lines of progress.

pub(super) mod held_back;
mod plain_renderer;

use std::io::stderr;

#[cfg(feature = "cli")]
use burn_ckpt::plumbing::lines_without_controls;
use burn_ckpt::plumbing::without_controls;
use held_back::{HeldBack, WARNING, write_held_back, write_line};
pub use plain_renderer::PlainRenderer;
pub(crate) use plain_renderer::{MAX_ITEMS, ResumedBatches};

use super::run_output;
#[cfg(feature = "tui")]
use super::terminal::{is_held_back, settle_output};

/// Writes a line to standard error. A closed pipe there does not end training. While a dashboard is drawn
/// on the terminal, which the line would garble, it is held back.
///
/// A file's name can be in it, by which nothing else is written to the terminal, and no further line.
pub(crate) fn say(line: &str) {
    write(&without_controls(line));
}

/// The same with a text of several lines, as the message of a panic can be.
#[cfg(feature = "cli")]
pub(crate) fn say_lines(text: &str) {
    write(&lines_without_controls(text));
}

fn write(line: &str) {
    let text = run_output::with_run(line);
    // Lines of the program come before it.
    settle_output();
    let mut held_back = HeldBack::lock();
    if is_held_back() {
        if let Some(warning) = line.strip_prefix(WARNING) {
            held_back.count_warning(warning);
        }
        return held_back.push(text);
    }
    let lines = held_back.take();
    drop(held_back);
    write_held_back(lines);
    write_line(stderr(), &text);
}

/// Writes the lines that were held back, unless a dashboard is still drawn.
#[cfg(feature = "tui")]
pub(crate) fn say_what_was_held_back() {
    let mut held_back = HeldBack::lock();
    if !is_held_back() {
        let lines = held_back.take();
        drop(held_back);
        write_held_back(lines);
    }
}

#[cfg(not(feature = "tui"))]
fn is_held_back() -> bool {
    false
}

#[cfg(not(feature = "tui"))]
fn settle_output() {}

/// Tells the user something, in the log, and on standard error unless progress is off.
pub(crate) fn note(message: &str) {
    log::info!("{message}");
    if run_output::progress().is_on() {
        say(message);
    }
}

/// Warns the user, on standard error and in the log.
pub(crate) fn warn(message: &str) {
    log::warn!("{message}");
    warn_unlogged(message);
}

/// The same, but for the log: of what cannot be logged.
pub(crate) fn warn_unlogged(message: &str) {
    say(&format!("{WARNING}{message}"));
}
