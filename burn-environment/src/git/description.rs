//! [`Git`]: what the metadata says of the repository around the working directory, and the questions that
//! tell it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::repository::Repository;

/// How long all questions together may take. What is still unanswered then is unknown.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The state of the repository around the working directory.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Git {
    /// The branch, or `None` for a detached head.
    pub branch: Option<String>,
    /// The commit in full, or `None` in a repository without any.
    pub commit: Option<String>,
    /// Whether a tracked file differs from the commit, also one of a submodule, or `None` where
    /// that took too long to find out or cannot be told without a filter's program.
    pub dirty: Option<bool>,
    /// SHA-256 of the changes to tracked files. It tells later whether a diff that was kept is the one
    /// that was run. It is `None` unless `dirty` is true.
    ///
    /// It is what this prints, anywhere in the repository:
    ///
    /// ```text
    /// git diff-index --patch --full-index --no-ext-diff --no-textconv --no-color --no-renames \
    ///     --ignore-submodules=dirty HEAD | sha256sum
    /// ```
    ///
    /// A submodule is in it with its commit, and not with what differs inside it.
    pub diff_sha256: Option<String>,
}

/// The repository around `directory`, or `None` where there is none or no `git` program.
pub(crate) fn read(directory: &Path) -> Option<Git> {
    read_with(OsStr::new("git"), directory, Instant::now() + TIME_LIMIT)
}

pub(super) fn read_with(program: &OsStr, directory: &Path, deadline: Instant) -> Option<Git> {
    let repository = Repository { program, directory, deadline };
    let inside = repository.line(&["rev-parse", "--is-inside-work-tree"])?;
    let mut git = Git {
        // This question also has an answer before the first commit, and fails for a detached head.
        branch: repository.line(&["symbolic-ref", "--quiet", "--short", "HEAD"]),
        commit: repository.line(&["rev-parse", "--quiet", "--verify", "HEAD"]),
        ..Git::default()
    };
    // These come last: they alone take longer in a larger repository. A bare repository has no files that
    // could differ.
    if inside == "true" {
        git.dirty = repository.dirty();
        git.diff_sha256 = git.dirty.filter(|&dirty| dirty).and_then(|_| repository.diff_sha256());
    }
    Some(git)
}
