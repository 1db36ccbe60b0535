//! A program of the workspace that a verb builds and then becomes, with the program's own flags.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{cargo, llvm};

/// Features that are on in every build, as cargo's `--features` takes them. For the tests: a program that
/// they start by a verb is built as they are, in place of burn being built once more with fewer features.
const ALWAYS_ON: &str = "XTASK_FEATURES";

/// The profile that a program is built with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Profile {
    Dev,
    Release,
}

/// What is built, and how.
#[derive(Debug)]
pub struct Program<'a> {
    profile: Profile,
    name: &'a str,
    starts: &'a [&'a str],
    features: Vec<String>,
    always_on: String,
}

impl<'a> Program<'a> {
    /// A program of the development profile, with default features.
    pub fn new(name: &'a str) -> Self {
        let always_on = std::env::var(ALWAYS_ON).unwrap_or_default();
        Self { profile: Profile::Dev, name, starts: &[], features: Vec::new(), always_on }
    }

    /// Builds it with every optimization.
    pub fn release(mut self) -> Self {
        self.profile = Profile::Release;
        self
    }

    /// The other programs that it starts. They are built beside it.
    pub fn starting(mut self, programs: &'a [&'a str]) -> Self {
        self.starts = programs;
        self
    }

    /// Features beside the default ones, each as `package/feature`.
    pub fn features(mut self, features: Vec<String>) -> Self {
        self.features = features;
        self
    }

    /// Builds it. The error is the exit status to end with.
    pub fn build(&self) -> Result<(), ExitCode> {
        let build = self.cargo_arguments();
        let variables = llvm::variables_for(&self.features)?;
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        cargo::run_with(&build.iter().map(String::as_str).collect::<Vec<_>>(), &variables)
    }

    /// Builds it and runs it in this process's place, so that its exit status and signals are its own.
    pub fn build_and_become<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> ExitCode {
        if let Err(failed) = self.build() {
            return failed;
        }
        match self.path() {
            Ok(path) => {
                let mut program = Command::new(path);
                program.args(arguments);
                become_command(program)
            }
            Err(error) => not_found(error),
        }
    }

    /// Always of the whole workspace, so that every verb builds one and the same set of artifacts.
    fn cargo_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["build".to_owned(), "--workspace".to_owned()];
        if self.profile == Profile::Release {
            arguments.push("--release".to_owned());
        }
        for name in [self.name].iter().chain(self.starts) {
            arguments.extend(["--bin".to_owned(), (*name).to_owned()]);
        }
        let always_on = Some(&self.always_on).filter(|features| !features.is_empty());
        let features: Vec<&str> = self.features.iter().chain(always_on).map(String::as_str).collect();
        if !features.is_empty() {
            arguments.extend(["--features".to_owned(), features.join(",")]);
        }
        arguments
    }

    /// Where cargo puts it: beside this program, which is of the development profile, or in the release
    /// profile's directory beside that; wherever the target directory is.
    pub fn path(&self) -> std::io::Result<PathBuf> {
        let file = format!("{}{}", self.name, std::env::consts::EXE_SUFFIX);
        let beside = std::env::current_exe()?.with_file_name(&file);
        Ok(match self.profile {
            Profile::Dev => beside,
            Profile::Release => beside.with_file_name("..").join("release").join(file),
        })
    }
}

/// Reports that the place of a program is unknown.
pub fn not_found(error: std::io::Error) -> ExitCode {
    eprintln!("error: the program that was built cannot be found: {error}");
    ExitCode::FAILURE
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_workspace_is_selected_and_the_programs_are_named() {
        let built = |program: Program<'_>| program.cargo_arguments().join(" ");
        assert_eq!(built(Program::new("digits")), "build --workspace --bin digits");
        assert_eq!(
            built(Program::new("soak").release().starting(&["digits", "warmup"])),
            "build --workspace --release --bin soak --bin digits --bin warmup"
        );
        let features = vec!["digits/cuda".to_owned(), "digits/autotune".to_owned()];
        assert_eq!(
            built(Program::new("digits").features(features)),
            "build --workspace --bin digits --features digits/cuda,digits/autotune"
        );
    }

    #[test]
    fn features_that_are_always_on_come_to_those_of_the_verb() {
        let mut program = Program::new("digits");
        program.always_on = "system-tests/mirror,system-tests/remote".to_owned();
        assert!(program.cargo_arguments().ends_with(&[program.always_on.clone()]), "{program:?}");
        let program = program.features(vec!["digits/wgpu".to_owned()]);
        let features = "digits/wgpu,system-tests/mirror,system-tests/remote";
        assert_eq!(program.cargo_arguments().last().map(String::as_str), Some(features));
    }

    #[test]
    fn a_release_program_is_in_the_directory_beside() {
        let path = Program::new("gpu-check").release().path().unwrap();
        assert!(path.with_extension("").ends_with("../release/gpu-check"), "{}", path.display());
        let beside = Program::new("digits").path().unwrap();
        assert_eq!(beside.parent(), std::env::current_exe().unwrap().parent());
    }
}
