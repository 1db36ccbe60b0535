//! One test of a test program in a process of its own.

use std::path::Path;
use std::process::{Command, Output};

use super::commands::stdout;

/// Runs a test of the calling test program in a process of its own, with a path in a variable of its
/// environment. Prints what it printed.
///
/// `module` is `module_path!()` of the file with the test.
///
/// # Panics
///
/// When the test fails, or there is none of that name.
pub fn run_alone(module: &str, test: &str, variable: &str, path: &Path) {
    print!("{}", stdout(&alone(module, test, variable, path)));
}

/// The same, for what the test writes to standard error: a run's warnings and its lines of progress.
///
/// # Panics
///
/// When the test fails, or there is none of that name.
#[must_use]
pub fn said_alone(module: &str, test: &str, variable: &str, path: &Path) -> String {
    String::from_utf8_lossy(&alone(module, test, variable, path).stderr).into_owned()
}

fn alone(module: &str, test: &str, variable: &str, path: &Path) -> Output {
    // The filter takes the path without the test program's name.
    let (_, module) = module.split_once("::").unwrap_or_default();
    let name = format!("{module}::{test}");
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("where am I? {error}"));
    let mut command = Command::new(own);
    command.args(["--exact", &name, "--nocapture"]).env(variable, path);
    let output = command.output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let printed = stdout(&output);
    assert!(printed.contains("1 passed"), "{name}: {printed}");
    output
}
