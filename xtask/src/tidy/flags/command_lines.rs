//! The flags in a page, and which program each is for.
//!
//! Code is read as a shell would, as far as that is needed: words, continued lines, `|` and `;`, and `--`
//! behind cargo's own flags. A flag in text, or behind no program's name, is for an unknown one.

use super::in_text::flags_in;
use super::other_programs::{CARGO, OTHER_PROGRAMS, OtherProgram, TEST_RUNNER};
use super::programs::{Name, Programs};
use crate::tidy::markdown::{Page, Passage};

/// A flag in a page, and the program that is to understand it.
#[derive(Debug, PartialEq)]
pub struct FlagUse {
    pub line: usize,
    /// Without `--`.
    pub flag: String,
    pub program: Program,
}

/// Who is to understand a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    Ours(Name),
    Other(&'static OtherProgram),
    Unknown,
}

/// Words behind which another program's name can stand.
const SEPARATORS: [&str; 7] = ["|", "||", "&&", "&", ";", "exec", "do"];
/// Cargo's flags that name a program to run.
const NAMES_A_PROGRAM: [&str; 3] = ["--bin", "--package", "-p"];

/// All flags of a page.
pub fn flags(page: &Page, programs: &Programs) -> Vec<FlagUse> {
    let mut uses = Vec::new();
    for passage in &page.passages {
        if passage.is_code {
            for words in command_lines(passage) {
                add_command_line(&words, programs, &mut uses);
            }
        } else {
            for (line, text) in &passage.lines {
                let unknown = |flag| FlagUse { line: *line, flag, program: Program::Unknown };
                uses.extend(flags_in(text).into_iter().map(unknown));
            }
        }
    }
    uses
}

/// A word of a command line, with its line in the page.
type Word<'a> = (usize, &'a str);

/// Lines that end with `\` are continued by the next.
fn command_lines(passage: &Passage) -> Vec<Vec<Word<'_>>> {
    let mut lines = vec![Vec::new()];
    for (number, text) in &passage.lines {
        let continued = text.trim_end().strip_suffix('\\');
        let words = continued.unwrap_or(text).split_whitespace().map(|word| (*number, word));
        if let Some(line) = lines.last_mut() {
            line.extend(words);
        }
        if continued.is_none() {
            lines.push(Vec::new());
        }
    }
    lines
}

fn add_command_line(words: &[Word<'_>], programs: &Programs, uses: &mut Vec<FlagUse>) {
    let mut program = Program::Unknown;
    let mut start = 0;
    let mut index = 0;
    while let Some((line, word)) = words.get(index).copied() {
        let texts = || words[index..].iter().map(|(_, word)| *word);
        if SEPARATORS.contains(&word) {
            program = Program::Unknown;
        } else if word == "--" {
            program = program_after_dashes(&program, &words[start..index], texts().skip(1), programs);
        } else if may_start_another(&program)
            && let Some((found, length)) = program_at(texts(), programs)
        {
            (program, start) = (found, index);
            index += length;
            continue;
        } else if word.starts_with('#') {
            let comment =
                words[index..].iter().flat_map(|(line, word)| with_line(*line, word, &Program::Unknown));
            return uses.extend(comment);
        }
        uses.extend(with_line(line, word, &program));
        if word.ends_with(';') {
            program = Program::Unknown;
        }
        index += 1;
    }
}

fn with_line(line: usize, word: &str, program: &Program) -> Vec<FlagUse> {
    let program = || program.clone();
    flags_in(word).into_iter().map(|flag| FlagUse { line, flag, program: program() }).collect()
}

fn may_start_another(program: &Program) -> bool {
    match program {
        Program::Ours(_) => false,
        Program::Other(other) => other.starts_another,
        Program::Unknown => true,
    }
}

/// The program whose name stands at the front, the longest of those that do, and how many words the name has.
fn program_at<'a>(
    words: impl Iterator<Item = &'a str> + Clone,
    programs: &Programs,
) -> Option<(Program, usize)> {
    let is_at = |name: &Name| {
        let mut words = words.clone().map(unquoted);
        name.iter().enumerate().all(|(index, part)| {
            let word = words.next().unwrap_or_default();
            // Programs are named by their paths as well.
            let word = if index == 0 { word.rsplit('/').next().unwrap_or(word) } else { word };
            word == part
        })
    };
    let ours = programs.names().filter(|name| is_at(name)).max_by_key(|name| name.len());
    if let Some(name) = ours {
        return Some((Program::Ours(name.clone()), name.len()));
    }
    let first = unquoted(words.clone().next()?);
    let other =
        OTHER_PROGRAMS.iter().find(|other| other.name == first.rsplit('/').next().unwrap_or(first))?;
    Some((Program::Other(other), 1))
}

/// A word without quotes and what else a shell takes off.
fn unquoted(word: &str) -> &str {
    word.trim_matches(|c| matches!(c, '\'' | '"' | '`' | '(' | ')' | '$' | ';'))
}

/// What is behind `--` is for the program that cargo runs.
fn program_after_dashes<'a>(
    program: &Program,
    before: &[Word<'a>],
    after: impl Iterator<Item = &'a str> + Clone,
    programs: &Programs,
) -> Program {
    let is_cargo = matches!(program, Program::Other(other) if other.name == CARGO);
    match before.get(1) {
        Some((_, "test")) if is_cargo => Program::Other(&TEST_RUNNER),
        Some((_, "run")) if is_cargo => {
            let named =
                before.windows(2).find(|pair| NAMES_A_PROGRAM.contains(&pair[0].1)).map(|pair| pair[1].1);
            let Some(named) = named else { return Program::Unknown };
            let found = program_at(std::iter::once(named).chain(after), programs);
            found.map_or(Program::Unknown, |(program, _)| program)
        }
        _ => Program::Unknown,
    }
}
