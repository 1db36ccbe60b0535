//! Runs a command in a process of its own that prints what it has measured, as JSON on its last line: its
//! memory is counted separately, and its crash does not end the benchmark.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::program::Result;

/// How often to look whether a process has ended.
const POLL: Duration = Duration::from_millis(20);
/// How to install the peers.
const INSTALL: &str = "pip install -r bench/peers/requirements.txt, and --python names that Python";
/// The scripts of the peers in Python, embedded in the program.
const SCRIPTS: [(&str, &str); 11] = [
    ("job.py", include_str!("../peers/job.py")),
    ("measure.py", include_str!("../peers/measure.py")),
    ("torch_save.py", include_str!("../peers/torch_save.py")),
    ("lightning_best_last.py", include_str!("../peers/lightning_best_last.py")),
    ("orbax_async.py", include_str!("../peers/orbax_async.py")),
    ("safetensors_file.py", include_str!("../peers/safetensors_file.py")),
    ("training.py", include_str!("../peers/training.py")),
    ("torch_networks.py", include_str!("../peers/torch_networks.py")),
    ("train_lightning.py", include_str!("../peers/train_lightning.py")),
    ("train_torch.py", include_str!("../peers/train_torch.py")),
    ("train_jax.py", include_str!("../peers/train_jax.py")),
];

/// A command that runs a peer's script, which is written below the directory.
///
/// # Errors
///
/// When the scripts cannot be written.
pub(crate) fn python(dir: &Path, python: &Path, script: &str, task: &str) -> Result<Command> {
    let scripts = dir.join("scripts");
    std::fs::create_dir_all(&scripts)?;
    for (name, text) in SCRIPTS {
        std::fs::write(scripts.join(name), text)?;
    }
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).arg(task);
    Ok(command)
}

/// The command computes with so many threads.
pub(crate) fn limit_threads(command: &mut Command, threads: usize) {
    for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
}

/// Runs it to its end, and reads the object on its last line. It is killed after so many seconds. What it
/// prints is kept in the directory meanwhile.
///
/// # Errors
///
/// A sentence that says why there is no measurement.
pub(crate) fn measurement<M: DeserializeOwned>(command: Command, dir: &Path, limit: u64) -> Result<M> {
    let output = output_within(limit, command, dir)?;
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

/// Waits for the end of the process, and kills it at the time limit.
fn output_within(limit: u64, mut command: Command, dir: &Path) -> Result<Output> {
    let (stdout, stderr) = (dir.join("stdout"), dir.join("stderr"));
    command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?).stdin(Stdio::null());
    let mut process = command
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", name(command.get_program())))?;
    let deadline = Instant::now() + Duration::from_secs(limit);
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            process.kill()?;
            process.wait()?;
            return Err(format!("it was not done after {limit} seconds (--limit)").into());
        }
        std::thread::sleep(POLL);
    };
    Ok(Output { status, stdout: std::fs::read(stdout)?, stderr: std::fs::read(stderr)? })
}

fn name(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}
