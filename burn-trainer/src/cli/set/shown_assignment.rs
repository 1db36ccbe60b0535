//! An assignment of `--set` as errors repeat it: an address can have a credential.

use std::borrow::Cow;

/// Where the address begins, behind its scheme.
const OF_ADDRESSES: &str = "://";
/// Stands for what is not repeated.
const LEFT_OUT: &str = "..";

/// The assignment, without a value that has an address.
pub(in crate::cli) fn shown_assignment(assignment: &str) -> Cow<'_, str> {
    if !assignment.contains(OF_ADDRESSES) {
        return assignment.into();
    }
    match assignment.split_once('=') {
        Some((key, _)) if !key.contains(OF_ADDRESSES) => key.into(),
        _ => LEFT_OUT.into(),
    }
}

/// The reason of an error, without what it repeats of a value that has an address.
pub(super) fn without_address(reason: String, assignment: &str) -> String {
    let parts = |text: &str| -> Vec<String> {
        let is_end = |letter: char| letter.is_whitespace() || "\"'{}[],".contains(letter);
        text.split(is_end).filter(|part| part.contains(OF_ADDRESSES)).map(str::to_owned).collect()
    };
    let value = assignment.split_once('=').map_or(assignment, |(_, value)| value);
    // The whole first: a credential can have the letters that divide it.
    let whole = value.contains(OF_ADDRESSES).then(|| value.to_owned());
    let all = whole.into_iter().chain(parts(value));
    all.fold(reason, |reason, part| reason.replace(&part, LEFT_OUT))
}
