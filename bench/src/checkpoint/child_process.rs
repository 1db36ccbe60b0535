//! One contender in a process of its own, so that its memory is its own, and that its end is not the end of all.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::program::Result;

use super::case::Case;
use super::contender::{Contender, Phase};
use super::measured::Measured;

/// The hidden verb with which the program starts itself.
pub const VERB: &str = "contender";
/// The program with the system's allocator, beside this one.
const WITH_SYSTEM_ALLOCATOR: &str = "bench-checkpoint-system";
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How to get the peers.
const INSTALL: &str = "pip install -r bench/peers/requirements.txt, and --python names that Python";
/// The scripts of the peers in Python; the program carries them with it.
const SCRIPTS: [(&str, &str); 6] = [
    ("job.py", include_str!("../../peers/job.py")),
    ("measure.py", include_str!("../../peers/measure.py")),
    ("torch_save.py", include_str!("../../peers/torch_save.py")),
    ("lightning_best_last.py", include_str!("../../peers/lightning_best_last.py")),
    ("orbax_async.py", include_str!("../../peers/orbax_async.py")),
    ("safetensors_file.py", include_str!("../../peers/safetensors_file.py")),
];

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Who.
    pub contender: Contender,
    /// What.
    pub phase: Phase,
    /// With which state.
    pub case: Case,
    /// Where its files go; the processes of a contender have one directory.
    pub dir: PathBuf,
    /// Saves to measure.
    pub saves: usize,
    /// As short as can be.
    pub quick: bool,
    /// Threads that compute.
    pub threads: usize,
    /// Seconds after which it is given up.
    pub limit: u64,
}

impl Task {
    /// Undisturbed steps at the end of a run, beside those between the saves.
    #[must_use]
    pub fn quiet_steps(&self) -> u64 {
        if self.quick { 2 } else { 8 }
    }

    /// How often a short measurement is repeated.
    #[must_use]
    pub fn repetitions(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }

    /// Does it in a process of its own.
    ///
    /// # Errors
    ///
    /// A sentence that says why there is no figure.
    pub fn run(&self, python: &Path) -> Result<Measured> {
        std::fs::create_dir_all(&self.dir)?;
        let mut command = match self.contender.script() {
            Some(script) => self.python(python, script)?,
            None => self.program()?,
        };
        if self.phase != Phase::Load {
            let threads = self.threads.to_string();
            for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
                command.env(variable, &threads);
            }
        }
        self.told(&self.ended(command)?)
    }

    /// Waits for its end, but not for ever.
    fn ended(&self, mut command: Command) -> Result<Output> {
        let (stdout, stderr) = (self.dir.join("stdout"), self.dir.join("stderr"));
        command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?).stdin(Stdio::null());
        let mut process = command.spawn().map_err(|error| {
            format!("{} cannot be started: {error}", command.get_program().to_string_lossy())
        })?;
        let deadline = Instant::now() + Duration::from_secs(self.limit);
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                process.kill()?;
                process.wait()?;
                return Err(format!("it was not done after {} seconds (--limit)", self.limit).into());
            }
            std::thread::sleep(POLL);
        };
        Ok(Output { status, stdout: std::fs::read(stdout)?, stderr: std::fs::read(stderr)? })
    }

    fn program(&self) -> Result<Command> {
        let program = std::env::current_exe()?;
        let program = match self.contender {
            Contender::SystemAllocator => {
                let file = format!("{WITH_SYSTEM_ALLOCATOR}{}", std::env::consts::EXE_SUFFIX);
                program.with_file_name(file)
            }
            _ => program,
        };
        let mut command = Command::new(program);
        command.arg(VERB).arg(serde_json::to_string(self)?);
        Ok(command)
    }

    fn python(&self, python: &Path, script: &str) -> Result<Command> {
        let scripts = self.dir.join("scripts");
        std::fs::create_dir_all(&scripts)?;
        for (name, text) in SCRIPTS {
            std::fs::write(scripts.join(name), text)?;
        }
        let mut command = Command::new(python);
        command.arg(scripts.join(script)).arg(serde_json::to_string(self)?);
        Ok(command)
    }

    /// The object on the last line, or the last line of what went wrong.
    fn told(&self, output: &Output) -> Result<Measured> {
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let last = errors.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.unwrap_or("it printed nothing");
            let missing = ["ModuleNotFoundError", "ImportError", "PackageNotFoundError"];
            return Err(match missing.iter().any(|error| last.contains(error)) {
                true => format!("not installed ({}); {INSTALL}", last.trim()),
                false => format!("{}: {}", output.status, last.trim()),
            }
            .into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().ok_or("it told nothing")?;
        serde_json::from_str(last).map_err(|error| format!("what it told is no measurement: {error}").into())
    }
}
