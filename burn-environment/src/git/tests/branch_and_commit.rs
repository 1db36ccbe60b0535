//! Branch and commit: of a branch, a detached head, no commit, a bare repository, and no repository.

use tempfile::tempdir;

use super::{asked, empty_repository, git, repository};
use crate::git::{Git, read};
use crate::write_file::write;

#[test]
fn a_clean_branch_has_its_name_its_commit_and_no_changes() {
    let (repository, commit) = repository();
    git(&repository, &["checkout", "--quiet", "-b", "topic/a"]);
    let expected = Git {
        branch: Some("topic/a".to_owned()),
        commit: Some(commit),
        dirty: Some(false),
        diff_sha256: None,
    };
    assert_eq!(asked(repository.path()), Some(expected));
}

#[test]
fn a_directory_inside_a_repository_belongs_to_it() {
    let (repository, commit) = repository();
    let inside = write(&repository, "a/b/untracked", "");
    let git = asked(inside.parent().unwrap()).unwrap();
    assert_eq!(git.branch.as_deref(), Some("trunk"));
    assert_eq!(git.commit, Some(commit));
}

#[test]
fn a_detached_head_has_a_commit_and_no_branch() {
    let (repository, commit) = repository();
    git(&repository, &["checkout", "--quiet", "--detach"]);
    let expected = Git { commit: Some(commit), dirty: Some(false), ..Git::default() };
    assert_eq!(asked(repository.path()), Some(expected));
}

#[test]
fn a_repository_without_commits_has_a_branch_and_no_commit() {
    let expected = Git { branch: Some("trunk".to_owned()), dirty: Some(false), ..Git::default() };
    assert_eq!(asked(empty_repository().path()), Some(expected));
}

#[test]
fn where_there_are_no_files_nothing_is_said_of_their_changes() {
    let (repository, commit) = repository();
    let expected = Git { branch: Some("trunk".to_owned()), commit: Some(commit), ..Git::default() };
    assert_eq!(asked(&repository.path().join(".git")), Some(expected));
}

#[test]
fn a_directory_outside_of_any_repository_has_none() {
    let outside = tempdir().unwrap();
    assert_eq!(read(outside.path()), None);
    assert_eq!(read(&outside.path().join("missing")), None);
}

#[test]
fn a_bare_repository_has_a_branch_and_no_files() {
    let (repository, commit) = repository();
    git(&repository, &["clone", "--quiet", "--bare", ".", "bare.git"]);
    let expected = Git { branch: Some("trunk".to_owned()), commit: Some(commit), ..Git::default() };
    assert_eq!(asked(&repository.path().join("bare.git")), Some(expected));
}
