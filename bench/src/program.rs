//! What the programs of `cargo xtask bench` have in common: the head of their page, and how they end.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::measure::machine::{self, Others};

/// What goes wrong is said, and nobody asks what kind of error it was.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The head of a page: what was measured, how, and on what.
#[derive(Debug)]
pub(crate) struct Head {
    title: &'static str,
    command: String,
    lines: Vec<String>,
}

impl Head {
    /// Of the program that `cargo xtask bench NAME` is, once it has measured, in a directory.
    pub(crate) fn new(title: &'static str, name: &str, root: &Path, others: Others) -> Self {
        let arguments = std::env::args().skip(1);
        let command = ["cargo xtask bench", name].map(str::to_owned).into_iter().chain(arguments);
        let mut lines = machine::described(root);
        if let Some(share) = others.share() {
            let share = share * 100.0;
            lines.push(format!("meanwhile, other programs used {share:.0} % of the processors"));
        }
        Self { title, command: command.collect::<Vec<_>>().join(" "), lines }
    }
}

/// Markdown.
impl Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n    {}\n", self.title, self.command)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "- {line}"))
    }
}

/// Where to write: what is given, or `target` here.
pub(crate) fn directory(root: Option<&Path>) -> Result<PathBuf> {
    let root = root.unwrap_or(Path::new("target"));
    let made = std::fs::create_dir_all(root).and_then(|()| root.canonicalize());
    Ok(made.map_err(|error| format!("{}: {error}", root.display()))?)
}

/// What a program ends with, after saying what went wrong.
pub(crate) fn exit_code(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
