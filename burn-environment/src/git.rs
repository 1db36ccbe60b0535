//! The `git` part: branch, commit and whether files differ from it, as the `git` program tells.
//!
//! The program is asked rather than the repository read: only it knows worktrees, packed references
//! and the user's own settings. It never gets to ask for a password, take a lock or reach a
//! network, and no remote is read.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::subprocess;

/// How long all questions together may take. What is still unanswered then is unknown.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Variables that make git answer for another repository than the one around the directory it runs
/// in. A program that a git hook starts inherits them.
const REDIRECTIONS: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"];

/// The state of the repository around the working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Git {
    /// The branch, or `None` for a detached head.
    pub branch: Option<String>,
    /// The commit in full, or `None` in a repository without any.
    pub commit: Option<String>,
    /// Whether a tracked file differs from the commit, or `None` where that took too long to find
    /// out.
    pub dirty: Option<bool>,
}

/// The repository around `directory`, or `None` where there is none or no `git` program.
pub(crate) fn read(directory: &Path) -> Option<Git> {
    let deadline = Instant::now() + TIME_LIMIT;
    read_with(OsStr::new("git"), directory, deadline)
}

fn read_with(program: &OsStr, directory: &Path, deadline: Instant) -> Option<Git> {
    let ask = |question: &[&str]| {
        // No program, no repository, no such thing in it, no answer in time: for a description they
        // are one.
        subprocess::output_of(command(program, directory, question), deadline).ok()
    };
    let line = |question: &[&str]| {
        let answer = String::from_utf8_lossy(&ask(question)?).trim().to_owned();
        (!answer.is_empty()).then_some(answer)
    };

    ask(&["rev-parse", "--git-dir"])?;
    Some(Git {
        // Of the ways to ask, this one answers before the first commit too, and fails for a
        // detached head.
        branch: line(&["symbolic-ref", "--quiet", "--short", "HEAD"]),
        commit: line(&["rev-parse", "--quiet", "--verify", "HEAD"]),
        // Last, as it alone grows with the repository.
        dirty: ask(&["status", "--porcelain", "--untracked-files=no"]).map(|files| !files.is_empty()),
    })
}

/// A question to git that is answered from the directory alone, and changes nothing.
fn command(program: &OsStr, directory: &Path, question: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        // A monitor is a program that the repository names, and it would outlive this command.
        .args(["-c", "core.fsmonitor=false"])
        .args(question)
        .current_dir(directory)
        // `git status` refreshes the index otherwise, and with it a lock that the user's own git
        // then trips over.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1");
    for name in REDIRECTIONS {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::scratch_dir::ScratchDir;

    /// Runs git for a test, cut off from the settings and hooks of whoever runs the tests.
    fn git(repository: &ScratchDir, arguments: &[&str]) -> String {
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

    fn empty_repository() -> ScratchDir {
        let repository = ScratchDir::new("git");
        git(&repository, &["init", "--quiet", "--initial-branch=trunk"]);
        repository
    }

    /// A repository with one commit of `file`, and that commit.
    fn repository() -> (ScratchDir, String) {
        let repository = empty_repository();
        repository.write("file", "committed\n");
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

    #[test]
    fn a_clean_branch_has_its_name_its_commit_and_no_changes() {
        let (repository, commit) = repository();
        git(&repository, &["checkout", "--quiet", "-b", "topic/a"]);
        let expected = Git { branch: Some("topic/a".to_owned()), commit: Some(commit), dirty: Some(false) };
        assert_eq!(asked(repository.path()), Some(expected));
    }

    #[test]
    fn a_directory_inside_a_repository_belongs_to_it() {
        let (repository, commit) = repository();
        let inside = repository.write("a/b/untracked", "");
        let git = asked(inside.parent().unwrap()).unwrap();
        assert_eq!(git.branch.as_deref(), Some("trunk"));
        assert_eq!(git.commit, Some(commit));
    }

    #[test]
    fn a_tracked_file_that_changed_makes_it_dirty_and_an_untracked_one_does_not() {
        let (repository, _) = repository();
        repository.write("untracked", "new\n");
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
        repository.write("file", "changed since\n");
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
        git(&repository, &["add", "file"]);
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
    }

    #[test]
    fn a_detached_head_has_a_commit_and_no_branch() {
        let (repository, commit) = repository();
        git(&repository, &["checkout", "--quiet", "--detach"]);
        let expected = Git { branch: None, commit: Some(commit), dirty: Some(false) };
        assert_eq!(asked(repository.path()), Some(expected));
    }

    #[test]
    fn a_repository_without_commits_has_a_branch_and_no_commit() {
        let expected = Git { branch: Some("trunk".to_owned()), commit: None, dirty: Some(false) };
        assert_eq!(asked(empty_repository().path()), Some(expected));
    }

    #[test]
    fn where_there_are_no_files_nothing_is_said_of_their_changes() {
        let (repository, commit) = repository();
        let expected = Git { branch: Some("trunk".to_owned()), commit: Some(commit), dirty: None };
        assert_eq!(asked(&repository.path().join(".git")), Some(expected));
    }

    #[test]
    fn a_directory_outside_of_any_repository_has_none() {
        let outside = ScratchDir::new("git");
        assert_eq!(read(outside.path()), None);
        assert_eq!(read(&outside.path().join("missing")), None);
    }

    #[test]
    fn a_variable_that_names_another_repository_is_not_handed_on() {
        let command = command(OsStr::new("git"), Path::new("."), &["status"]);
        let changes: Vec<_> = command.get_envs().collect();
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            assert!(changes.contains(&(OsStr::new(name), None)), "{name}");
        }
    }

    #[test]
    fn a_machine_without_git_has_none() {
        let (repository, _) = repository();
        let program = OsStr::new("burn-environment-no-such-program");
        let deadline = far_off();
        assert_eq!(read_with(program, repository.path(), deadline), None);
    }

    #[test]
    fn a_remote_url_is_not_recorded() {
        let (repository, _) = repository();
        let url = "https://user:hunter2@git.example/a.git";
        git(&repository, &["remote", "add", "origin", url]);
        let git = asked(repository.path()).unwrap();
        let written = serde_json::to_string(&git).unwrap();
        assert!(!written.contains("hunter2"), "{written}");
        assert!(!written.contains("git.example"), "{written}");
    }

    #[test]
    fn asking_leaves_the_repository_as_it_was() {
        let (repository, _) = repository();
        // The same content with another time: an ordinary `git status` would now refresh the index.
        let file = repository.write("file", "committed\n");
        let file = File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let index = repository.path().join(".git/index");
        let before = std::fs::read(&index).unwrap();
        assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
        assert_eq!(std::fs::read(&index).unwrap(), before);
    }
}
