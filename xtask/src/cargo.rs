//! Calling cargo, so that every verb builds one and the same set of artifacts.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The profile that a program was built with.
#[derive(Debug, Clone, Copy)]
pub enum Profile {
    Dev,
    Release,
}

/// Runs cargo and reports what failed. The error is the exit status to end with.
pub fn run(arguments: &[&str]) -> Result<(), ExitCode> {
    run_with(arguments, &[])
}

/// [`run`] with variables set.
pub fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), ExitCode> {
    let mut command = command();
    command.args(arguments).envs(variables.iter().copied());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            eprintln!("error: cargo {} failed", arguments.join(" "));
            Err(ExitCode::FAILURE)
        }
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            Err(ExitCode::FAILURE)
        }
    }
}

/// Cargo in the workspace's directory, whatever the current one is.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What the cargo that started this program told it about its package. ring's build script looks at that, so that burn's
    // remote engine would be built anew whenever it is built by another way than the last time.
    for (name, _) in std::env::vars_os() {
        let is_told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_told) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program that was built in this process's place, so that its exit status and signals are its own.
pub fn become_program(profile: Profile, name: &str, with: impl FnOnce(&mut Command)) -> ExitCode {
    match program(profile, name) {
        Ok(path) => {
            let mut program = Command::new(path);
            with(&mut program);
            become_command(program)
        }
        Err(error) => {
            eprintln!("error: the program that was built cannot be found: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(unix)]
fn become_command(mut program: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    eprintln!("error: {} cannot be started: {error}", program.get_program().to_string_lossy());
    ExitCode::FAILURE
}

#[cfg(not(unix))]
fn become_command(mut program: Command) -> ExitCode {
    match program.status() {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("error: {} cannot be started: {error}", program.get_program().to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

/// Where cargo puts a program: beside this one, which is of the development profile, or in the release profile's directory
/// beside that; wherever the target directory is.
fn program(profile: Profile, name: &str) -> std::io::Result<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe()?.with_file_name(&file);
    Ok(match profile {
        Profile::Dev => beside,
        Profile::Release => beside.with_file_name("..").join("release").join(file),
    })
}

/// The workspace's directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}
