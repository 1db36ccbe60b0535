//! The head of a page: what was measured, by which command, and on what machine.

use std::fmt::{self, Display};
use std::path::Path;

use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::machine;

/// The head of a page: what was measured, how, and on what.
#[derive(Debug)]
pub(crate) struct Head {
    title: &'static str,
    command: String,
    lines: Vec<String>,
}

impl Head {
    /// For the program behind `cargo xtask bench NAME`, once it has measured in the directory `root`.
    pub(crate) fn new(title: &'static str, name: &str, root: &Path, others: OtherPrograms) -> Self {
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
