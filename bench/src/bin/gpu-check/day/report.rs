//! What the day leaves: `page.md` for `BENCHMARKS.md`, and `results.jsonl`, a line for each step and each
//! measurement. Both are written after each step.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use burn_trainer::Result;
use serde_json::{Value, json};

use super::plan::Step;
use super::process::{Done, End};
use crate::check::io;

/// The files, while they are being filled.
pub struct Report {
    out: PathBuf,
    page: String,
    lines: String,
    passed: bool,
}

impl Report {
    /// An empty one in this directory.
    ///
    /// # Errors
    ///
    /// When nothing can be written there.
    pub fn new(out: &Path) -> Result<Self> {
        let report = Self { out: out.to_path_buf(), page: String::new(), lines: String::new(), passed: true };
        report.write()?;
        Ok(report)
    }

    /// Where the page is.
    pub fn page(&self) -> PathBuf {
        self.out.join("page.md")
    }

    /// Whether every step passed that had to and was started.
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// Adds a step.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn add(&mut self, step: &Step, done: &Done) -> Result<()> {
        let passed = matches!(done.end, End::Passed | End::LeftOut);
        self.passed &= passed || !step.must_pass;
        let line = json!({
            "step": step.name,
            "arguments": step.arguments,
            "end": end(&done.end),
            "seconds": done.seconds,
            "card_memory_mib": done.card_memory,
            "messages": if done.end == End::Passed { Value::Null } else { json!(done.messages) },
        });
        self.lines.push_str(&format!("{line}\n"));
        let measured = self.out.join(format!("{}.jsonl", step.name));
        for line in std::fs::read_to_string(measured).unwrap_or_default().lines() {
            // A process that was killed may have left half a line.
            if let Ok(Value::Object(mut measured)) = serde_json::from_str(line) {
                measured.insert("step".to_owned(), json!(step.name));
                self.lines.push_str(&format!("{}\n", Value::Object(measured)));
            }
        }
        self.describe(step, done);
        self.write()
    }

    fn describe(&mut self, step: &Step, done: &Done) {
        let memory = done.card_memory.map(|mebibytes| format!(", {mebibytes} MiB of the card"));
        let page = &mut self.page;
        // Writing to a text cannot fail.
        let _ = writeln!(
            page,
            "### {}\n\n{} after {:.1} s{}: `{}`\n",
            step.name,
            end(&done.end),
            done.seconds,
            memory.unwrap_or_default(),
            step.arguments.join(" ")
        );
        for line in done.printed.lines() {
            // Below the heading of the step.
            let deeper = if line.starts_with("## ") { "##" } else { "" };
            let _ = writeln!(page, "{deeper}{line}");
        }
        if done.end != End::Passed && !done.messages.is_empty() {
            let _ = writeln!(page, "\n```text\n{}\n```", done.messages);
        }
        page.push('\n');
    }

    fn write(&self) -> Result<()> {
        let page = format!("## A day on a card\n\n{}", self.page);
        for (name, text) in [("page.md", &page), ("results.jsonl", &self.lines)] {
            let path = self.out.join(name);
            std::fs::write(&path, text).map_err(io("write", &path))?;
        }
        Ok(())
    }
}

fn end(end: &End) -> String {
    match end {
        End::Passed => "passed".to_owned(),
        End::Failed(why) => format!("failed ({why})"),
        End::TooLong => "stopped at its time limit".to_owned(),
        End::LeftOut => "left out: no time".to_owned(),
    }
}
