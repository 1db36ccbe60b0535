//! Tests and examples use the public interface of `burn_ckpt`, as a user's program does, and not its
//! `plumbing`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::files::Files;
use super::finding::Finding;

/// What is looked at.
const USERS: [&str; 2] = ["examples/", "tests/"];

/// What may be used all the same.
struct Exception {
    /// The file or folder that may.
    path: &'static str,
    /// What it may use of `plumbing`; empty: all.
    item: &'static str,
    /// Why the public interface is not enough, for the reader of this list.
    _reason: &'static str,
}

const fn exception(path: &'static str, item: &'static str, reason: &'static str) -> Exception {
    Exception { path, item, _reason: reason }
}

/// To allow another use, add a line with the reason.
const EXCEPTIONS: &[Exception] = &[
    exception(
        "tests/src/",
        "",
        "helpers know the names in a run's directory, forge checkpoints and disturb the disk",
    ),
    exception("tests/", "storage", "the seam at which faults are injected and operations are counted"),
    exception("tests/", "Limits", "small limits stand for states of many gigabytes"),
    exception("tests/", "RunLock", "the test is the other process that holds the run"),
    exception("tests/", "blake3_hex", "the digest of bytes that the test has made, to compare or to forge"),
    exception(
        "tests/tests/system/burn_ckpt_program/average.rs",
        "Existing",
        "what the program does with a file that came after its look",
    ),
    exception(
        "tests/tests/system/burn_ckpt_program/average.rs",
        "average_with",
        "what the program does with a file that came after its look",
    ),
    exception(
        "tests/tests/system/several_files/",
        "sha256_of_file",
        "the digest of a file of several, to forge",
    ),
    exception("tests/tests/system/several_files/", "remove_checkpoint", "the removal is what is tested"),
    exception("tests/tests/system/saving/names.rs", "", "the longest names are limits of the format"),
    exception("tests/tests/system/saving/slow_disk/", "", "a writer without a run, whose disk hangs"),
    exception(
        "tests/tests/system/watching/retention.rs",
        "remove_checkpoint",
        "a removal at a chosen moment",
    ),
];

/// Uses without an exception, and exceptions without a use.
pub fn check(files: &Files) -> Vec<Finding> {
    check_with(files, EXCEPTIONS)
}

fn check_with(files: &Files, exceptions: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_used = vec![false; exceptions.len()];
    for (path, text) in files.rust().filter(|(path, _)| USERS.iter().any(|users| path.starts_with(users))) {
        let mut uses = Vec::new();
        // What is not Rust is reported where it is parsed.
        text.parse::<TokenStream>().into_iter().for_each(|tokens| collect(tokens, &mut uses));
        for (item, line) in uses {
            let allows = |exception: &Exception| {
                path.starts_with(exception.path) && (exception.item.is_empty() || exception.item == item)
            };
            // The narrowest comes last.
            match exceptions.iter().rposition(allows) {
                Some(exception) => is_used[exception] = true,
                None => findings.push(Finding::new(
                    path,
                    line,
                    format!(
                        "`burn_ckpt::plumbing::{item}` in what a user would write; use the public interface, or add an exception \
                         with its reason to xtask/src/tidy/plumbing.rs"
                    ),
                )),
            }
        }
    }
    for (exception, _) in exceptions.iter().zip(is_used).filter(|(exception, is_used)| {
        // In a test of this check most files are missing.
        !is_used && files.paths().any(|path| path.starts_with(exception.path))
    }) {
        let message = format!(
            "nothing here uses `burn_ckpt::plumbing::{}` any more; remove the exception",
            exception.item
        );
        findings.push(Finding::new(exception.path, 1, message));
    }
    findings
}

/// What follows `plumbing::`, with its line.
fn collect(tokens: TokenStream, uses: &mut Vec<(String, usize)>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), uses),
            TokenTree::Ident(name) if name == "plumbing" && is_path(&tokens[index + 1..]) => {
                match tokens.get(index + 3) {
                    Some(TokenTree::Ident(item)) => uses.push((item.to_string(), item.span().start().line)),
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        collect_names(group.stream(), uses);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn is_path(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    tokens.len() > 2 && tokens[..2].iter().all(is_colon)
}

/// The first name of each part of a list in braces.
fn collect_names(list: TokenStream, uses: &mut Vec<(String, usize)>) {
    let mut is_first = true;
    for token in list {
        match token {
            TokenTree::Ident(item) if is_first => {
                uses.push((item.to_string(), item.span().start().line));
                is_first = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => is_first = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAM: [Exception; 2] =
        [exception("tests/", "storage", "the seam"), exception("tests/a.rs", "", "a writer by hand")];

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        check_with(&Files::of(files), &SEAM).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_use_without_a_reason_is_named() {
        let message = |place: &str, item: &str| {
            format!(
                "{place}: `burn_ckpt::plumbing::{item}` in what a user would write; use the public interface, or add an exception \
                 with its reason to xtask/src/tidy/plumbing.rs"
            )
        };
        let uses = "use burn_ckpt::plumbing::storage;\nuse burn_ckpt::plumbing::{\n    Limits,\n    storage::{self, StoredFile},\n};\n\
                    fn f() {\n    assert!(burn_ckpt::plumbing::size(1));\n}\n";
        assert_eq!(
            lines(&[("tests/b.rs", uses)]),
            [message("tests/b.rs:3", "Limits"), message("tests/b.rs:7", "size")]
        );
        let in_example = [("examples/e/src/main.rs", "use burn_ckpt::plumbing::storage;\n")];
        assert_eq!(lines(&in_example), [message("examples/e/src/main.rs:1", "storage")]);
        assert_eq!(lines(&[("bench/src/lib.rs", "use burn_ckpt::plumbing::size;\n")]), [""; 0]);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_named() {
        let files =
            [("tests/a.rs", "fn plumbing() {}\n"), ("tests/b.rs", "use burn_ckpt::plumbing::storage;\n")];
        assert_eq!(
            lines(&files),
            ["tests/a.rs:1: nothing here uses `burn_ckpt::plumbing::` any more; remove the exception"]
        );
    }
}
