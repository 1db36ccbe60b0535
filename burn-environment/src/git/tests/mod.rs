//! What git says of repositories that the tests make.

mod branch_and_commit;
mod changes;
mod untrusted_repositories;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

use super::Git;
use super::description::read_with;
use super::repository::REDIRECTIONS;
use crate::write_file::write;

/// Runs git for a test, without the settings and hooks of the user who runs the tests.
fn git(repository: &TempDir, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=Test", "-c", "user.email=test@test.invalid"])
        .args(arguments)
        .current_dir(repository.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for name in REDIRECTIONS {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn empty_repository() -> TempDir {
    let repository = tempdir().unwrap();
    git(&repository, &["init", "--quiet", "--initial-branch=trunk"]);
    repository
}

/// A repository with one commit of `file`, and that commit.
fn repository() -> (TempDir, String) {
    let repository = empty_repository();
    write(&repository, "file", "committed\n");
    git(&repository, &["add", "file"]);
    git(&repository, &["commit", "--quiet", "--message=first"]);
    let commit = git(&repository, &["log", "-1", "--format=%H"]);
    (repository, commit)
}

/// Longer than any busy machine needs: these tests are about answers, not about time.
fn far_off() -> Instant {
    Instant::now() + Duration::from_mins(5)
}

fn asked(directory: &Path) -> Option<Git> {
    read_with(OsStr::new("git"), directory, far_off())
}
