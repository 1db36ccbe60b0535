//! Running the project's commands, as a user does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::backend;

/// The program that `cargo xtask train` becomes with these arguments, with the backend of the tests, in this
/// directory. It is an example's name, else of `digits`, and its flags. Cargo takes a second to find that
/// nothing is to be built: only tests of that command start it.
///
/// # Panics
///
/// When it cannot be built or started.
#[must_use]
pub fn train_example(directory: &Path, arguments: &[&str]) -> Output {
    let (name, flags) = match arguments {
        [name @ ("digits" | "char-lm"), flags @ ..] => (*name, flags),
        flags => ("digits", flags),
    };
    let mut command = Command::new(build(&[name]).join(name));
    command.args(["--backend", &backend::name()]).args(flags).current_dir(directory);
    command.output().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"))
}

/// `cargo xtask train` with these arguments and the backend of the tests, in this directory.
#[must_use]
pub fn xtask_train_command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = command_of(&words_with_backend("train", arguments));
    command.current_dir(directory);
    command
}

/// `cargo xtask new` with these arguments, in this directory.
///
/// # Panics
///
/// As [`xtask`].
#[must_use]
pub fn xtask_new(directory: &Path, arguments: &[&str]) -> Output {
    xtask(directory, "new", arguments)
}

/// A verb of `cargo xtask` with these arguments, in this directory.
///
/// # Panics
///
/// When it cannot be built or started.
#[must_use]
pub fn xtask(directory: &Path, verb: &str, arguments: &[&str]) -> Output {
    let output = command_of(&words(verb, arguments)).current_dir(directory).output();
    output.unwrap_or_else(|error| panic!("xtask cannot be started: {error}"))
}

/// `cargo xtask serve` with these arguments and the backend of the tests.
#[must_use]
pub fn xtask_serve_command(arguments: &[&str]) -> Command {
    command_of(&words_with_backend("serve", arguments))
}

fn command_of(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    outside_cargo(&mut command);
    command
}

/// Takes away what cargo told this program about its package. A cargo that is started with it builds ring
/// again, as its build script asks for that, and burn's remote engine with it. And has `cargo xtask` build
/// what it starts as the tests are built.
fn outside_cargo(command: &mut Command) {
    command.env("XTASK_FEATURES", backend::features());
    for (name, _) in std::env::vars_os() {
        let told = name
            .to_str()
            .is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|it| name.starts_with(it)));
        if told {
            command.env_remove(name);
        }
    }
}

/// The same on a terminal, by way of util-linux's `script`. Everything that the terminal gets is in the
/// standard output.
///
/// # Panics
///
/// When there is no such program.
#[must_use]
pub fn xtask_train_on_a_terminal(directory: &Path, arguments: &[&str]) -> Output {
    let quoted: Vec<String> =
        words_with_backend("train", arguments).iter().map(|word| format!("'{word}'")).collect();
    let mut command = Command::new("script");
    outside_cargo(&mut command);
    command
        .args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"])
        .env("TERM", "xterm-256color")
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("script cannot be started: {error}"))
}

/// What `cargo xtask VERB` starts, once cargo has built it as the alias says.
fn words(verb: &str, arguments: &[&str]) -> Vec<String> {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let mut command = cargo(&workspace());
        command.args(["build", "--quiet", "--package", "xtask"]);
        stdout(&command.output().unwrap_or_else(|error| panic!("cargo cannot be started: {error}")));
        built().join("xtask").display().to_string()
    });
    [program.as_str(), verb].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

/// The same with the backend of the tests.
fn words_with_backend(verb: &str, arguments: &[&str]) -> Vec<String> {
    words(verb, &[&["--backend", &backend::name()], arguments].concat())
}

/// `burn-ckpt` with these arguments.
///
/// # Panics
///
/// When it cannot be built or started.
#[must_use]
pub fn burn_ckpt(arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let output = burn_ckpt_command().args(arguments.iter().map(|argument| argument.as_ref())).output();
    output.unwrap_or_else(|error| panic!("burn-ckpt cannot be started: {error}"))
}

/// The command of [`burn_ckpt()`], without arguments.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn burn_ckpt_command() -> Command {
    Command::new(build(&["burn-ckpt"]).join("burn-ckpt"))
}

/// Checks that a command ended with a status, and returns its standard output and standard error.
///
/// # Panics
///
/// When it ended with another one; the message holds what it printed.
pub fn ended_with(output: &Output, status: i32) -> (String, String) {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(status), "{stdout}{}", stderr(output));
    (stdout, stderr(output))
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
/// # Errors
///
/// When there is no such program, or it fails.
pub fn sha256sum(path: &Path) -> Result<String, String> {
    let output =
        Command::new("sha256sum").arg(path).output().map_err(|error| format!("sha256sum: {error}"))?;
    if !output.status.success() {
        return Err(format!("sha256sum: {}: {}", output.status, stderr(&output)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Builds programs of the workspace as they are now, each once in a process, and returns the directory where
/// they are.
///
/// # Panics
///
/// When they cannot be built.
#[must_use]
pub fn build(programs: &[&str]) -> PathBuf {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut before = BUILT.lock();
    let programs: Vec<&str> = programs.iter().copied().filter(|program| !before.contains(*program)).collect();
    if programs.is_empty() {
        return built();
    }
    let mut command = cargo(&workspace());
    command.args(["build", "--quiet", "--workspace"]);
    // Cargo takes an empty list, too.
    command.args(["--features", &backend::features()]);
    command.args(programs.iter().flat_map(|program| ["--bin", program]));
    stdout(&command.output().unwrap_or_else(|error| panic!("cargo cannot be started: {error}")));
    before.extend(programs.into_iter().map(str::to_owned));
    built()
}

/// Cargo in a directory.
#[must_use]
pub fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    outside_cargo(&mut command);
    command.current_dir(directory);
    command
}

/// The directory where built programs are, in the target directory.
///
/// # Panics
///
/// When this program's own path is not known.
#[must_use]
pub fn built() -> PathBuf {
    // A test program is in the directory `deps` beside them, wherever the target directory is.
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("where am I? {error}"));
    test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// The workspace's directory, below which cargo knows its aliases.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
