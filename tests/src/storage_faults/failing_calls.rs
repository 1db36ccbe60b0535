//! The built programs with a C library whose file operations fail. What is seen by an observer within a
//! test's own process is seen here in a program as a user starts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::commands::stdout;

/// The C library's operations, compiled for this test.
#[derive(Debug)]
pub struct FailingCalls {
    directory: TempDir,
}

/// Which operations fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingCall<'a> {
    /// A name of `failing_calls.c` (`lock`, `sync_directory`, ..), or `any`.
    pub call: &'a str,
    /// Which of them, counted from 1; 0 for each.
    pub at: usize,
    /// The error by Linux's number. With 0 the process ends there; with [`SHORT_WRITE`] half of a write is
    /// done.
    pub errno: i32,
}

/// In place of an error: half of a write is done, which is not an error.
pub const SHORT_WRITE: i32 = -1;

impl FailingCalls {
    /// Compiles them.
    ///
    /// # Panics
    ///
    /// When there is no `cc`: these tests need one (Debian: gcc).
    #[must_use]
    pub fn compile() -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage_faults/failing_calls.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-Wno-nonnull-compare", "-o"]);
        compiler.arg(directory.path().join("failing_calls.so")).arg(source).arg("-ldl");
        let compiled = compiler.output();
        stdout(&compiled.unwrap_or_else(|error| panic!("these tests need a C compiler, cc (gcc): {error}")));
        Self { directory }
    }

    /// Lets the operations of a program below a directory fail.
    pub fn apply(&self, command: &mut Command, below: &Path, failing: FailingCall<'_>) {
        self.load(command, below);
        command.env("FAILING_CALL", failing.call);
        command.env("FAILING_AT", failing.at.to_string());
        command.env("FAILING_ERRNO", failing.errno.to_string());
    }

    /// Lets the disk below a directory be full from an operation on that needs space, counted from 1.
    pub fn fill_disk(&self, command: &mut Command, below: &Path, from: u64, errno: i32) {
        self.load(command, below);
        command.env("FAILING_CALL", "space").env("FAILING_ONWARDS", "1");
        command.env("FAILING_AT", from.to_string()).env("FAILING_ERRNO", errno.to_string());
    }

    /// Runs a program to its end, and returns its operations below a directory in their order:
    /// `remove /tmp/a`.
    ///
    /// # Panics
    ///
    /// When the program cannot be started, or fails.
    #[must_use]
    pub fn noted(&self, mut command: Command, below: &Path) -> Vec<String> {
        let log = self.log();
        self.load(&mut command, below);
        command.env("FAILING_LOG", &log);
        stdout(&command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let text = std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("no operation: {error}"));
        let _ = std::fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }

    fn load(&self, command: &mut Command, below: &Path) {
        command.env("LD_PRELOAD", self.directory.path().join("failing_calls.so"));
        command.env("FAILING_BELOW", below);
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}
