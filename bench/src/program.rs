//! What the programs of `cargo xtask bench` have in common: where they write, their errors, and their exit
//! status.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Errors are printed, and not told apart.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The directory to write to: the given one, or `target`.
pub(crate) fn directory(root: Option<&Path>) -> Result<PathBuf> {
    let root = root.unwrap_or(Path::new("target"));
    let made = std::fs::create_dir_all(root).and_then(|()| root.canonicalize());
    Ok(made.map_err(|error| format!("{}: {error}", root.display()))?)
}

/// Prints the error, if there is one, and returns the exit status.
pub(crate) fn exit_code(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", burn_ckpt::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
