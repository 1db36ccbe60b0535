//! Runs on a terminal, with burn's dashboard: they stop and end as they do in a pipe, and leave the terminal
//! as it was.

mod dashboard;
mod keys;
mod progress;
mod stops;
mod whole_terminal;

use std::path::Path;
use std::process::Command;

use system_tests::programs::running::warmup;
use system_tests::run_files::checkpoints;

/// More epochs than a test waits for.
const ENDLESS: &str = "--run-id r1 --epochs 100000 --save-every-steps 10";

/// The program with every signal's default effect, as a login shell starts it.
fn program(root: &Path, flags: &str) -> Command {
    let program = warmup(root, flags);
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn has_saved(root: &Path) -> bool {
    checkpoints(root).join("last.ckpt").exists()
}
