//! One test of a test program in a process of its own.

use std::path::Path;
use std::process::Command;

use super::commands::stdout;

/// Runs a test of the calling test program in a process of its own, with a path in a variable of its environment. Prints what it
/// printed.
///
/// `module` is `module_path!()` of the file with the test.
///
/// # Panics
///
/// When the test fails, or there is none of that name.
pub fn run_alone(module: &str, test: &str, variable: &str, path: &Path) {
    // The filter takes the path without the test program's name.
    let (_, module) = module.split_once("::").unwrap_or_default();
    let name = format!("{module}::{test}");
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("where am I? {error}"));
    let mut command = Command::new(own);
    command.args(["--exact", &name, "--nocapture"]).env(variable, path);
    let printed = stdout(&command.output().unwrap_or_else(|error| panic!("{name}: {error}")));
    print!("{printed}");
    assert!(printed.contains("1 passed"), "{name}: {printed}");
}
