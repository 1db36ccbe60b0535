//! Runs a task in a process of its own: its memory is counted separately, and its crash does not end the
//! benchmark.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::program::Result;

use super::contender::{Contender, Phase};
use super::measurement::Measurement;
use super::task::Task;

/// The hidden verb with which the program starts itself as a child process.
pub const VERB: &str = "contender";
/// The program with the system's allocator, beside this one.
const WITH_SYSTEM_ALLOCATOR: &str = "bench-checkpoint-system";
/// How often to look whether a process has ended.
const POLL: Duration = Duration::from_millis(20);
/// How to install the peers.
const INSTALL: &str = "pip install -r bench/peers/requirements.txt, and --python names that Python";
/// The scripts of the peers in Python, embedded in the program.
const SCRIPTS: [(&str, &str); 6] = [
    ("job.py", include_str!("../../peers/job.py")),
    ("measure.py", include_str!("../../peers/measure.py")),
    ("torch_save.py", include_str!("../../peers/torch_save.py")),
    ("lightning_best_last.py", include_str!("../../peers/lightning_best_last.py")),
    ("orbax_async.py", include_str!("../../peers/orbax_async.py")),
    ("safetensors_file.py", include_str!("../../peers/safetensors_file.py")),
];

/// Runs a task in a process of its own.
///
/// # Errors
///
/// A sentence that says why there is no measurement.
pub fn run(task: &Task, python: &Path) -> Result<Measurement> {
    std::fs::create_dir_all(&task.dir)?;
    let mut command = match task.contender.script() {
        Some(script) => python_command(task, python, script)?,
        None => own_command(task)?,
    };
    if task.phase != Phase::Load {
        let threads = task.threads.to_string();
        for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, &threads);
        }
    }
    measurement(&output_within_limit(task, command)?)
}

/// Waits for the end of the process, and kills it at the task's time limit.
fn output_within_limit(task: &Task, mut command: Command) -> Result<Output> {
    let (stdout, stderr) = (task.dir.join("stdout"), task.dir.join("stderr"));
    command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?).stdin(Stdio::null());
    let mut process = command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", command.get_program().to_string_lossy()))?;
    let deadline = Instant::now() + Duration::from_secs(task.limit);
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            process.kill()?;
            process.wait()?;
            return Err(format!("it was not done after {} seconds (--limit)", task.limit).into());
        }
        std::thread::sleep(POLL);
    };
    Ok(Output { status, stdout: std::fs::read(stdout)?, stderr: std::fs::read(stderr)? })
}

fn own_command(task: &Task) -> Result<Command> {
    let program = std::env::current_exe()?;
    let program = match task.contender {
        Contender::SystemAllocator => {
            program.with_file_name(format!("{WITH_SYSTEM_ALLOCATOR}{}", std::env::consts::EXE_SUFFIX))
        }
        _ => program,
    };
    let mut command = Command::new(program);
    command.arg(VERB).arg(serde_json::to_string(task)?);
    Ok(command)
}

fn python_command(task: &Task, python: &Path, script: &str) -> Result<Command> {
    let scripts = task.dir.join("scripts");
    std::fs::create_dir_all(&scripts)?;
    for (name, text) in SCRIPTS {
        std::fs::write(scripts.join(name), text)?;
    }
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).arg(serde_json::to_string(task)?);
    Ok(command)
}

/// The object on the last line of the output, or the last line of the errors.
fn measurement(output: &Output) -> Result<Measurement> {
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
    let last = text.lines().last().ok_or("it printed no measurement")?;
    serde_json::from_str(last).map_err(|error| format!("its last line is not a measurement: {error}").into())
}
