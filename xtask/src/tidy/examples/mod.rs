//! Each public item of a published library has an example in its documentation, or a link to what has one: an
//! item, a method or a module.
//!
//! `exports` finds the public items, this file looks at their documentation.

mod exports;

use std::collections::BTreeSet;

use super::files::Files;
use super::finding::Finding;
use super::sources::Sources;
use exports::{Documented, Library};

/// Their root files.
const LIBRARIES: [&str; 5] = [
    "burn-adam/src/lib.rs",
    "burn-ckpt/src/lib.rs",
    "burn-environment-build/src/lib.rs",
    "burn-environment/src/lib.rs",
    "burn-trainer/src/lib.rs",
];
/// What paths to items of other crates begin with.
const ELSEWHERE: [&str; 4] = ["burn", "fs", "io", "std"];
/// What begins a block of code.
const FENCE: &str = "```";

/// Public items without an example and without a link to one.
pub fn check(files: &Files, sources: &Sources) -> Vec<Finding> {
    let library = Library::read(files, sources, &LIBRARIES);
    let with_example: BTreeSet<&str> = library
        .documented
        .iter()
        .filter(|item| item.doc.contains(FENCE))
        .map(|item| item.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for (Documented { name, file, line, .. }, doc) in library.exported() {
        let is_shown = doc.contains(FENCE)
            || links(&doc)
                .any(|link| leads_to_one_of(&with_example, &link.replace("Self::", &format!("{name}::"))));
        if !is_shown {
            let message = format!(
                "the documentation of `{name}` has no example and no link to an item that has one; add one of the two"
            );
            findings.push(Finding::new(file, *line, message));
        }
    }
    findings
}

/// `Type`, `Type::method` or `module`, where the method or the type before it has an example.
fn leads_to_one_of(with_example: &BTreeSet<&str>, link: &str) -> bool {
    let parts: Vec<&str> = link.split("::").collect();
    let last_two = parts[parts.len().saturating_sub(2)..].join("::");
    let [first, .., last] = parts[..] else { return with_example.contains(link) };
    if ELSEWHERE.contains(&first) {
        return false;
    }
    let before = parts.len().checked_sub(2).map(|index| parts[index]);
    with_example.contains(last_two.as_str())
        || with_example.contains(last)
        || before.is_some_and(|before| with_example.contains(before))
}

/// What the documentation links to within the code: ``[`a::B`]``, `[text](a::B)`, ``[`a`](crate::a)``.
fn links(doc: &str) -> impl Iterator<Item = String> {
    doc.split('[').skip(1).filter_map(|rest| {
        let (text, after) = rest.split_once(']')?;
        let target = match after.strip_prefix('(') {
            Some(target) => target.split(')').next()?,
            None => text,
        };
        let target = target.trim_matches('`').trim_end_matches("()");
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        (!target.is_empty() && target.chars().all(is_path)).then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "//! The crate.\n\nmod a;\npub mod open;\npub use a::{Given, Linked, Bare as Renamed};\n\
                        #[doc(hidden)]\npub mod hidden {\n    pub use crate::a::Inner;\n}\n";

    fn lines(a: &str, open: &str) -> Vec<String> {
        let files = Files::of(&[
            ("burn-ckpt/src/lib.rs", ROOT),
            ("burn-ckpt/src/a.rs", a),
            ("burn-ckpt/src/open/mod.rs", open),
        ]);
        let (sources, broken) = Sources::parse(&files);
        assert_eq!(broken, []);
        check(&files, &sources).iter().map(ToString::to_string).collect()
    }

    const SHOWN: &str =
        "/// Given.\n///\n/// ```\n/// 1;\n/// ```\npub struct Given;\n/// Hidden.\npub struct Inner;\n";

    #[test]
    fn an_item_without_an_example_and_without_a_link_to_one_is_named() {
        let open = "//! Open.\n\n/// A [`Given`](crate::Given), too.\npub fn opened() {}\nfn private() {}\n";
        let a =
            format!("{SHOWN}/// See [`Given`].\npub struct Linked;\n/// See [`Linked`].\npub struct Bare;\n");
        assert_eq!(
            lines(&a, open),
            [
                "burn-ckpt/src/a.rs:12: the documentation of `Bare` has no example and no link to an item that has one; add one of \
              the two"
            ]
        );
    }

    #[test]
    fn a_link_to_a_method_or_a_module_with_an_example_is_one() {
        let a = format!(
            "{SHOWN}/// See [its way](Self::made).\npub struct Linked;\n/// See [`made`](Linked::made).\npub enum Bare {{}}\n\
             impl Linked {{\n    /// Made.\n    ///\n    /// ```\n    /// ```\n    pub fn made() {{}}\n}}\n"
        );
        let open = "//! Open.\n//!\n//! ```\n//! 1;\n//! ```\n\n/// See [the page](crate::open).\npub fn opened() {}\n";
        assert_eq!(lines(&a, open), [""; 0]);
    }
}
