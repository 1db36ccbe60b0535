//! An error and its sources in one line, for programs that print one.

use std::error::Error;

/// The error's text, then those of its sources, each after a colon: `cannot create a.ckpt: Permission denied`.
///
/// A source whose text is already in the text before it is left out, as many libraries repeat their sources.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

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
}
