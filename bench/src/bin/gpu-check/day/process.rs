//! One step: a process of this program with a time limit, and the card's memory meanwhile.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::plan::Step;
use crate::nvidia_smi;

/// How often to look whether a process has ended.
const POLL: Duration = Duration::from_millis(50);
/// How often the card's memory is read.
const MEMORY_POLL: Duration = Duration::from_millis(500);

/// What became of a step.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub end: End,
    /// How long it took.
    pub seconds: f64,
    /// What it printed.
    pub printed: String,
    /// The last lines of its messages.
    pub messages: String,
    /// The most memory of the cards that was in use, above what was in use before, in MiB.
    pub card_memory: Option<u64>,
}

/// How a step ended.
#[derive(Debug, PartialEq)]
pub enum End {
    /// With status 0.
    Passed,
    /// With another one, or it could not be started.
    Failed(String),
    /// It was killed at its limit.
    TooLong,
    /// There was no time for it.
    LeftOut,
}

impl Done {
    /// A step that was not started.
    pub fn left_out() -> Self {
        Self {
            end: End::LeftOut,
            seconds: 0.0,
            printed: String::new(),
            messages: String::new(),
            card_memory: None,
        }
    }
}

/// Runs a step. Its output is kept in files of its name.
pub fn run(step: &Step, limit: Duration, out: &Path) -> Done {
    let started = Instant::now();
    let before = card_memory();
    let ended = AtomicBool::new(false);
    let (end, most) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| before.and_then(|_| most_memory(&ended)));
        let end = end_of(step, limit, out);
        ended.store(true, Ordering::Relaxed);
        (end, sampler.join().ok().flatten())
    });
    let read =
        |extension: &str| std::fs::read(out.join(format!("{}.{extension}", step.name))).unwrap_or_default();
    Done {
        end,
        seconds: started.elapsed().as_secs_f64(),
        printed: String::from_utf8_lossy(&read("page")).into_owned(),
        messages: last_lines(&String::from_utf8_lossy(&read("log"))),
        card_memory: most.zip(before).map(|(most, before)| most.saturating_sub(before)),
    }
}

fn end_of(step: &Step, limit: Duration, out: &Path) -> End {
    let deadline = Instant::now() + limit;
    let mut child = match spawned(step, out) {
        Ok(child) => child,
        Err(error) => return End::Failed(format!("it cannot be started: {error}")),
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return End::Passed,
            Ok(Some(status)) => return End::Failed(status.to_string()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(None) => {
                kill_with_children(&mut child);
                return End::TooLong;
            }
            Err(error) => return End::Failed(error.to_string()),
        }
    }
}

fn spawned(step: &Step, out: &Path) -> std::io::Result<Child> {
    let file = |extension: &str| File::create(out.join(format!("{}.{extension}", step.name)));
    Command::new(std::env::current_exe()?)
        .args(&step.arguments)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(file("page")?)
        .stderr(file("log")?)
        // A group of its own, with the processes that it starts.
        .process_group(0)
        .spawn()
}

fn kill_with_children(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // A process that a driver holds in the kernel does not even die: it is left to itself.
    let patience = Instant::now() + Duration::from_secs(2);
    while Instant::now() < patience && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(POLL);
    }
}

/// The memory of all cards together that is in use, in MiB.
fn card_memory() -> Option<u64> {
    nvidia_smi::query("memory.used")?.iter().map(|line| line.parse::<u64>().ok()).sum()
}

fn most_memory(ended: &AtomicBool) -> Option<u64> {
    let mut most = None;
    while !ended.load(Ordering::Relaxed) {
        most = most.max(card_memory());
        std::thread::sleep(MEMORY_POLL);
    }
    most
}

/// The messages that matter: the last ones, without a backtrace.
fn last_lines(text: &str) -> String {
    let is_frame = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("at ") || line.split(':').next().is_some_and(|word| word.parse::<u32>().is_ok())
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_frame(line)).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_last_ones_without_the_frames_of_a_backtrace() {
        let text = "first\n  12: burn::step\n     at src/a.rs:1\nerror: no card\n";
        assert_eq!(last_lines(text), "first\nerror: no card");
        let many: String = (0..30).map(|number| format!("line {number}\n")).collect();
        assert_eq!(last_lines(&many).lines().next(), Some("line 18"));
    }
}
