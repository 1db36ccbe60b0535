//! `cargo xtask tidy`: what the project asks of its own files, as a test that takes seconds.
//!
//! Each check is a function over the files' texts, in a file of its own with tests of its own message. All
//! findings of all checks are printed, a line each: `path:line: what is wrong, and what to do`.

mod comments;
mod examples;
mod files;
mod finding;
mod flags;
mod folders;
mod headers;
mod imports;
mod lengths;
mod links;
mod markdown;
mod phrases;
mod plumbing;
mod sources;
mod titles;

use std::process::ExitCode;

use crate::cargo;
use files::Files;
use finding::Finding;
use sources::Sources;

/// Prints what it finds. The error is the exit status to end with.
pub fn run() -> Result<(), ExitCode> {
    let files = Files::tracked(&cargo::root()).map_err(|error| {
        eprintln!("error: the project's files cannot be read: {error}");
        ExitCode::FAILURE
    })?;
    let findings = findings(&files);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        return Ok(());
    }
    eprintln!("error: the project is not tidy (findings: {})", findings.len());
    Err(ExitCode::FAILURE)
}

/// What every check finds, sorted by place.
fn findings(files: &Files) -> Vec<Finding> {
    let (sources, mut findings) = Sources::parse(files);
    findings.extend(headers::check(&sources));
    findings.extend(lengths::check(files));
    findings.extend(comments::check(files));
    findings.extend(plumbing::check(files));
    findings.extend(folders::check(files));
    findings.extend(imports::check(files, &sources));
    findings.extend(examples::check(files, &sources));
    findings.extend(phrases::check(files));
    findings.extend(titles::check(files));
    findings.extend(links::check(files));
    findings.extend(flags::check(files, &sources));
    findings.sort();
    // A file that two crates include is looked at twice.
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_findings_of_all_checks_are_shown_in_the_order_of_their_places() {
        let files = Files::of(&[
            ("b/src/lib.rs", "fn first() {}\n"),
            ("a.md", "See [the format](FORMAT.md).\n"),
            ("b/src/broken.rs", "fn 1() {}\n"),
        ]);
        let lines: Vec<_> = findings(&files).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "a.md:1: broken link: there is no file `FORMAT.md`; correct the link",
                "a.md:1: the page has no title; begin with one line `# Title`",
                "b/src/broken.rs:1: not Rust that can be parsed: expected identifier",
                "b/src/lib.rs:1: no `//!` at the top; say what the file owns and where in the flow it stands",
            ]
        );
    }
}
