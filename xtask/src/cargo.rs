//! Calling cargo, so that every verb builds one and the same set of artifacts, and other programs.

pub mod disk;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// What names the target directory, the variable that counts first.
const TARGET_VARIABLES: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// Runs cargo and reports what failed. The error is the exit status to end with.
pub fn run(arguments: &[&str]) -> Result<(), ExitCode> {
    run_with(arguments, &[])
}

/// [`run`] with variables set.
pub fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), ExitCode> {
    let mut command = command();
    command.args(arguments).envs(variables.iter().copied());
    succeed(&mut command, &format!("cargo {} failed", arguments.join(" ")))
}

/// Runs a command, and reports with this message that it failed. The error is the exit status to end with.
pub fn succeed(command: &mut Command, failed: &str) -> Result<(), ExitCode> {
    match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(_) => eprintln!("error: {failed}"),
        Err(error) => {
            eprintln!("error: {} cannot be started: {error}", command.get_program().to_string_lossy());
        }
    }
    Err(ExitCode::FAILURE)
}

/// Whether a program can be started and ends with 0. What it prints is dropped.
pub fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Does a part of a long verb, and says how long it took and what is left of the disk: a continuous
/// integration has limits.
pub fn timed<T>(part: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    let free = target().ok().and_then(|target| disk::free(&target));
    let free = free.map(|free| format!(", {} of the disk left", disk::in_gb(free)));
    eprintln!("{part}: {} s{}", begun.elapsed().as_secs(), free.unwrap_or_default());
    done
}

/// Cargo in the workspace's directory, whatever the current one is.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Cargo takes a relative one from its own directory, which is not that of the cargo that built this
    // program.
    if let Some(target) = target_in_place_of(&env_vars(TARGET_VARIABLES), target()) {
        command.env(TARGET_VARIABLES[0], target);
    }
    // What the cargo that started this program told it about its package. ring's build script looks at that,
    // so that burn's remote engine would be built again whenever it is built by another way than the last
    // time.
    for (name, _) in std::env::vars_os() {
        let is_told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_told) {
            command.env_remove(name);
        }
    }
    command
}

/// The workspace's directory.
pub fn root() -> PathBuf {
    let [package, directory] = env_vars(["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"]);
    root_of(package, directory)
}

fn env_vars<const N: usize>(names: [&str; N]) -> [Option<OsString>; N] {
    names.map(std::env::var_os)
}

/// The target directory to name, where the variables that name it have a relative one. They are in the order
/// in which cargo reads them.
fn target_in_place_of(inherited: &[Option<OsString>], target: io::Result<PathBuf>) -> Option<PathBuf> {
    let named = inherited.iter().flatten().next()?;
    if Path::new(named).is_absolute() {
        return None;
    }
    target.and_then(std::path::absolute).ok()
}

/// The target directory, where this program is in a profile's directory.
pub fn target() -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned())
}

/// The parent of the directory of this package, which the cargo that runs it knows. A checkout that was
/// copied or moved with its build has a program that was compiled elsewhere.
fn root_of(package: Option<OsString>, directory: Option<OsString>) -> PathBuf {
    let is_this = package.is_some_and(|package| package == env!("CARGO_PKG_NAME"));
    let told = directory.filter(|_| is_this);
    let directory = told.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    directory.parent().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_the_one_that_cargo_runs_the_program_in() {
        let of = |package: Option<&str>| root_of(package.map(Into::into), Some("/moved/xtask".into()));
        assert_eq!(of(Some("xtask")), PathBuf::from("/moved"));
        let compiled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        assert_eq!(of(Some("system-tests")), compiled);
        assert_eq!(of(None), compiled);
    }

    #[test]
    fn a_relative_target_directory_is_that_of_this_program_wherever_cargo_is_started() {
        let named = |first: Option<&str>, second: Option<&str>| {
            let inherited = [first, second].map(|name| name.map(OsString::from));
            target_in_place_of(&inherited, Ok("/project/sub/out".into()))
        };
        let this = Some(PathBuf::from("/project/sub/out"));
        assert_eq!(named(Some("out"), None), this);
        assert_eq!(named(Some("../out"), Some("/other")), this);
        assert_eq!(named(None, Some("out")), this);
        assert_eq!(named(Some("/out"), Some("out")), None);
        assert_eq!(named(None, None), None);
        let own = target_in_place_of(&[Some("out".into())], target()).unwrap();
        assert!(own.is_absolute() && std::env::current_exe().unwrap().starts_with(&own), "{}", own.display());
    }
}
