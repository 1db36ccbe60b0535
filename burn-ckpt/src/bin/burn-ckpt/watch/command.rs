//! The program that is run for each checkpoint.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;
use std::process::{self, Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use burn_ckpt::Metadata;

use crate::verb_result::Failure;
use crate::watch::stop::Stop;

/// Stands for the checkpoint's path among the arguments.
const PATH: &str = "{}";
const POLL: Duration = Duration::from_millis(10);

/// A program with its arguments.
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
}

/// How it ended.
pub enum Ran {
    Well,
    /// "ended with .."
    Failed(String),
}

impl Command {
    /// `None` without words.
    pub fn new(words: &[OsString]) -> Option<Self> {
        let (program, arguments) = words.split_first()?;
        Some(Self { program: program.clone(), arguments: arguments.to_vec() })
    }

    pub fn name(&self) -> Cow<'_, str> {
        self.program.to_string_lossy()
    }

    /// Runs it for a checkpoint, and waits for its end. A stop that comes meanwhile is passed on to it.
    pub fn run(&self, path: &Path, metadata: &Metadata, metrics: &str, stop: &Stop) -> Result<Ran, Failure> {
        let mut command = process::Command::new(&self.program);
        for argument in &self.arguments {
            match argument == PATH {
                true => command.arg(path),
                false => command.arg(argument),
            };
        }
        if !self.arguments.iter().any(|argument| argument == PATH) {
            command.arg(path);
        }
        command
            .env("BURN_CKPT_PATH", path)
            .env("BURN_CKPT_EPOCH", metadata.epoch.to_string())
            .env("BURN_CKPT_STEP", metadata.global_step.to_string())
            .env("BURN_CKPT_METRICS", metrics)
            .stdin(Stdio::null());
        let failed = |error| Failure::Other(format!("cannot run {}: {error}", self.name()));
        let status = wait(command.spawn().map_err(failed)?, stop).map_err(failed)?;
        Ok(if status.success() { Ran::Well } else { Ran::Failed(format!("ended with {status}")) })
    }
}

fn wait(mut child: Child, stop: &Stop) -> std::io::Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.is_requested() && !is_told {
            is_told = true;
            stop.pass_on(&mut child)?;
        }
        sleep(POLL);
    }
}
