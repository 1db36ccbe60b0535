//! A git repository of a test's own, and what the metadata of a run in it has to say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// As the documentation of `Git::diff_sha256` has it.
const DIFF_SHA256: &str = "git diff-index --patch --full-index --no-ext-diff --no-textconv --no-color --no-renames \
                           --ignore-submodules=dirty HEAD | sha256sum";

/// A repository that is removed at the end.
#[derive(Debug)]
pub struct Repository(TempDir);

impl Repository {
    /// One without a commit, on the branch `trunk`.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn empty() -> Self {
        Self::empty_in(&std::env::temp_dir())
    }

    /// The same in memory, where the system has a place for that: so many files are written there in seconds.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn empty_for_many_files() -> Self {
        let memory = Path::new("/dev/shm");
        let writable = tempfile::tempdir_in(memory).is_ok();
        Self::empty_in(if writable { memory.to_path_buf() } else { std::env::temp_dir() }.as_path())
    }

    fn empty_in(place: &Path) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap_or_else(|error| panic!("a directory: {error}"));
        let repository = Self(directory);
        repository.git(&["init", "--quiet", "--initial-branch=trunk"]);
        repository
    }

    /// One with one commit, which has the file `tracked`.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn with_a_commit() -> Self {
        let repository = Self::empty();
        repository.write("tracked", "as committed\n");
        repository.git(&["add", "tracked"]);
        repository.git(&["commit", "--quiet", "--message=first"]);
        repository
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file into it, and the directories above that.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let written = std::fs::create_dir_all(path.parent().unwrap_or(&path));
        let written = written.and_then(|()| std::fs::write(&path, text));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// What git answers here.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        git_in(self.path(), arguments, Stdio::null())
    }

    /// The same, with an input.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn git_with_input(&self, arguments: &[&str], input: &Path) -> String {
        let file = std::fs::File::open(input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        git_in(self.path(), arguments, file.into())
    }
}

/// What git answers in a directory, without the settings of the user who runs the tests.
///
/// # Panics
///
/// When it fails.
pub fn git_in(directory: &Path, arguments: &[&str], input: Stdio) -> String {
    let mut command = Command::new("git");
    command
        .args([
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@test.invalid",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(directory)
        .stdin(input);
    printed(&mut without_settings(command))
}

/// The command with no settings for git but those of the repository.
#[must_use]
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GIT_")) {
            command.env_remove(name);
        }
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// What the metadata of a run in a directory has to have under `git`, by what git says there.
///
/// # Panics
///
/// When git fails.
#[must_use]
pub fn expected(directory: &Path) -> Value {
    let text = |arguments: &[&str]| git_in(directory, arguments, Stdio::null());
    let branch = text(&["branch", "--show-current"]);
    let dirty = !text(&["status", "--short", "--untracked-files=no"]).is_empty();
    json!({
        "branch": (!branch.is_empty()).then_some(branch),
        "commit": text(&["log", "-1", "--format=%H"]),
        "dirty": dirty,
        "diff_sha256": dirty.then(|| diff_sha256(directory)),
    })
}

fn diff_sha256(directory: &Path) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", DIFF_SHA256]).current_dir(directory);
    let printed = printed(&mut without_settings(command));
    printed.split(' ').next().unwrap_or_default().to_owned()
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A directory with a program `git` in it, which is this shell script.
///
/// # Panics
///
/// When it cannot be written.
#[must_use]
pub fn stub(script: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
    let path = directory.path().join(OsStr::new("git"));
    let written = std::fs::write(&path, format!("#!/bin/sh\n{script}\n"));
    let written = written.and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    directory
}
