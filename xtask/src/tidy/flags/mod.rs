//! A flag in a Markdown page is one that some program's `--help` knows; in a command line, that program's.
//!
//! `definitions` finds the clap types in the sources, `programs` puts them together to each program's flags,
//! and `other_programs` lists those of cargo and the like. `command_lines` finds the flags of a page, and the
//! program that each is for; `in_text` tells a flag from other dashes.

mod command_lines;
mod definitions;
mod in_text;
mod other_programs;
mod programs;

use super::files::Files;
use super::finding::Finding;
use super::markdown::Page;
use super::sources::Sources;
use command_lines::{FlagUse, Program};
use programs::Programs;

/// Flags that nothing knows.
pub fn check(files: &Files, sources: &Sources) -> Vec<Finding> {
    let programs = Programs::read(files, sources);
    let mut findings = Vec::new();
    for (path, text) in files.markdown() {
        for flag_use in command_lines::flags(&Page::parse(text), &programs) {
            if let Some(message) = problem(&flag_use, &programs) {
                findings.push(Finding::new(path, flag_use.line, message));
            }
        }
    }
    findings
}

fn problem(flag_use: &FlagUse, programs: &Programs) -> Option<String> {
    let flag = &flag_use.flag;
    match &flag_use.program {
        Program::Ours(name) => (!programs.knows(name, flag)).then(|| {
            format!("`{} --help` does not know `--{flag}`; correct the page or the program", name.join(" "))
        }),
        Program::Other(other) => (!other.flags.contains(&flag.as_str())).then(|| {
            let (name, table) = (other.name, other_programs::PATH);
            format!(
                "`--{flag}` is not in the table of `{name}`'s flags; correct the page, or add it in {table}"
            )
        }),
        Program::Unknown => (!programs.any_knows(flag) && !other_programs::any_knows(flag))
            .then(|| format!("no program's `--help` knows `--{flag}`; correct the page or the program")),
    }
}

#[cfg(test)]
mod tests;
