//! Running the project's commands, as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cargo xtask train --backend flex` with these arguments, in this directory.
///
/// # Panics
///
/// When cargo cannot be started.
#[must_use]
pub fn xtask_train(directory: &Path, arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        // What `cargo xtask` stands for; the alias itself is known below the workspace only.
        .args(["run", "--quiet", "--package", "xtask", "--manifest-path"])
        .arg(workspace().join("Cargo.toml"))
        .args(["--", "train", "--backend", "flex"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("cargo cannot be started: {error}"))
}

/// Checks that a command succeeded, and returns its standard output.
///
/// # Panics
///
/// When it did not; the message holds what it printed.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error of a command.
#[must_use]
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `sha256sum` says of a file.
///
/// # Panics
///
/// When there is no such program, or it fails.
#[must_use]
pub fn sha256sum(path: &Path) -> String {
    let output =
        Command::new("sha256sum").arg(path).output().unwrap_or_else(|error| panic!("sha256sum: {error}"));
    stdout(&output).split_whitespace().next().unwrap_or_default().to_owned()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
