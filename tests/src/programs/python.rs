//! Python as an independent judge, in virtual environments that are made on first use: one with PyTorch and
//! safetensors, one with TensorBoard and MLflow, one with a server of S3's interface.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use super::commands::{stdout, workspace};

/// Runs one of the scripts in `tests/python`, and returns the JSON that it prints.
///
/// # Panics
///
/// When the environment cannot be made, or the script fails or prints no JSON; the message says why.
#[must_use]
pub fn run_script(script: &str, arguments: &[&Path]) -> Value {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python =
        PYTHON.get_or_init(|| environment("requirements.txt", "PyTorch and what it needs take 5.4 GB"));
    run_script_by(python, script, arguments)
}

/// The same with the packages of trackers in place of PyTorch.
///
/// # Panics
///
/// As [`run_script`].
#[must_use]
pub fn run_script_of_trackers(script: &str, arguments: &[&Path]) -> Value {
    run_script_by(python_of_trackers(), script, arguments)
}

/// Python with TensorBoard and MLflow.
///
/// # Panics
///
/// When it cannot be installed; the message says why.
#[must_use]
pub fn python_of_trackers() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let size = "TensorBoard, MLflow and what they need take 1.1 GB";
    PYTHON.get_or_init(|| environment("requirements-trackers.txt", size))
}

/// Python with moto, a server of S3's interface.
///
/// # Panics
///
/// When it cannot be installed; the message says why.
#[must_use]
pub fn python_of_mirrors() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("requirements-mirrors.txt", "moto and what it needs take 320 MB"))
}

fn run_script_by(python: &Path, script: &str, arguments: &[&Path]) -> Value {
    let output = Command::new(python)
        .arg(scripts().join(script))
        .args(arguments)
        // The repository stays as it is.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    let text = stdout(&output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{script}: {error}: {text}"))
}

/// The Python of a virtual environment below the target directory, whose name changes with what it has.
fn environment(requirements: &str, size: &str) -> PathBuf {
    virtual_environment(&scripts().join(requirements), size).join("bin/python")
}

fn virtual_environment(requirements: &Path, size: &str) -> PathBuf {
    let wanted = fs::read(requirements).unwrap_or_else(|error| panic!("{}: {error}", requirements.display()));
    let version = checked(Command::new("python3").arg("--version"), "python3 is needed");
    let name = burn_ckpt::plumbing::blake3_of_tensor(&[wanted, version.stdout].concat());
    let directory = target().join(format!("python-venv-{}", &name[..16]));
    // Other test programs may be about to make it too.
    let lock = target().join("python-venv.lock");
    let lock = File::create(&lock).unwrap_or_else(|error| panic!("{}: {error}", lock.display()));
    lock.lock().unwrap_or_else(|error| panic!("the lock of the Python environment: {error}"));
    if directory.is_dir() {
        return directory;
    }
    // Under another name until it is complete; what a kill left under that name goes.
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).unwrap_or_else(|error| panic!("{}: {error}", unfinished.display()));
    }
    eprintln!("making {}, once: {size}", directory.display());
    let venv = "python3 -m venv is needed (Debian: apt-get install python3-venv)";
    checked(Command::new("python3").args(["-m", "venv"]).arg(&unfinished), venv);
    let mut pip = Command::new(unfinished.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements);
    checked(&mut pip, "pip has to install packages, for which the network is needed");
    fs::rename(&unfinished, &directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    directory
}

fn checked(command: &mut Command, needed: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{needed}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{needed}: {}: {text}", output.status);
    output
}

fn scripts() -> PathBuf {
    workspace().join("tests/python")
}

/// The target directory: a test program is in `<target>/<profile>/deps`.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("where am I? {error}"));
    test.ancestors().nth(3).map(Path::to_path_buf).unwrap_or_default()
}
