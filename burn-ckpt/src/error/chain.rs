//! An error and its sources in one line, for programs that print one.

use std::error::Error;
use std::io;

use crate::text::printable::lines_without_controls;

/// The longest text of one error, in characters. What a parser quotes of a hostile file can have a hundred
/// megabytes.
const MAX_TEXT_CHARS: usize = 4000;

/// The error's text, then those of its sources, each after a colon. `Display` of an error alone does not say
/// why something failed: print this.
///
/// A source whose text is already in the text before it is left out, as many libraries repeat their sources.
/// Control characters are escaped, as a text can quote a file.
///
/// ```
/// let error = burn_ckpt::Checkpoint::open("no-such-run/last.ckpt").unwrap_err();
/// let shown = burn_ckpt::chain(&error);
/// assert_eq!(shown, "cannot open no-such-run/last.ckpt: No such file or directory (os error 2)");
/// ```
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = harmless(&error.to_string());
    let mut next = error.source();
    let mut is_too_large = is_too_large_a_file(error);
    while let Some(source) = next {
        let part = harmless(&source.to_string());
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        is_too_large |= is_too_large_a_file(source);
        next = source.source();
    }
    if is_too_large {
        text.push_str(TOO_LARGE);
    }
    text
}

/// The beginning of a text, without control characters but line breaks.
fn harmless(text: &str) -> String {
    let begin = text.char_indices().nth(MAX_TEXT_CHARS).map_or(text, |(end, _)| &text[..end]);
    lines_without_controls(begin) + if begin.len() < text.len() { " .." } else { "" }
}

/// What to do about an error that the system calls "File too large".
const TOO_LARGE: &str = "; the file size limit is reached: raise it with ulimit -f, use a file system for larger files, or save a run's checkpoints in several files (max_file_bytes)";

fn is_too_large_a_file(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading failed: {0}")]
    struct Repeating(#[source] io::Error);

    #[test]
    fn every_source_is_there_once() {
        let source = || io::Error::other("the cable is loose");
        let plain = crate::Error::io("read", "a.ckpt")(source());
        assert_eq!(chain(&plain), "cannot read a.ckpt: the cable is loose");
        let repeating = crate::Error::snapshot("the history", Repeating(source()));
        assert_eq!(
            chain(&repeating),
            "cannot save the state: the history: reading failed: the cable is loose"
        );
    }

    #[test]
    fn a_file_beyond_the_limit_of_its_size_says_what_to_do() {
        let error = crate::Error::io("write", "a.ckpt")(io::ErrorKind::FileTooLarge.into());
        let text = chain(&error);
        assert!(text.contains("file size limit") && text.contains("ulimit -f"), "{text}");
        assert_eq!(text.matches("ulimit").count(), 1);
    }
}
