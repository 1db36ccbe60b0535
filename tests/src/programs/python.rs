//! Python as an independent judge, in virtual environments that `cargo xtask` makes: one with PyTorch and
//! safetensors, one with TensorBoard and MLflow, one with a server of S3's interface.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::commands::{stdout, workspace, xtask};

/// Runs one of the scripts in `tests/python`, and returns the JSON that it prints.
///
/// # Panics
///
/// When the environment cannot be made, or the script fails or prints no JSON; the message says why.
#[must_use]
pub fn run_script(script: &str, arguments: &[&Path]) -> Value {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let python = PYTHON.get_or_init(|| environment("requirements.txt"));
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
    PYTHON.get_or_init(|| environment("requirements-trackers.txt"))
}

/// Python with moto, a server of S3's interface.
///
/// # Panics
///
/// When it cannot be installed; the message says why.
#[must_use]
pub fn python_of_mirrors() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| environment("requirements-mirrors.txt"))
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

/// The Python of a virtual environment, which `cargo xtask` makes if need be.
fn environment(requirements: &str) -> PathBuf {
    PathBuf::from(stdout(&xtask(&workspace(), "python-environment", &[requirements])).trim_end())
}

fn scripts() -> PathBuf {
    workspace().join("tests/python")
}
