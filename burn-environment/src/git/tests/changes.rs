//! Changes to tracked files: whether there are any, and their digest.

use std::process::Command;

use tempfile::TempDir;

use super::{asked, git, repository};
use crate::write_file::write;

/// What the documentation tells a user to do.
fn printed_and_digested(repository: &TempDir) -> String {
    let command = "git diff-index --patch --full-index --no-ext-diff --no-textconv --no-color --no-renames \
                   --ignore-submodules=dirty HEAD | sha256sum";
    let output = Command::new("sh").args(["-c", command]).current_dir(repository.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_tracked_file_that_changed_makes_it_dirty_and_an_untracked_one_does_not() {
    let (repository, _) = repository();
    write(&repository, "untracked", "new\n");
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
    write(&repository, "file", "changed since\n");
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
    git(&repository, &["add", "file"]);
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
}

#[test]
fn the_digest_of_a_diff_is_that_of_the_documented_command_in_any_directory() {
    let (repository, _) = repository();
    let inside = write(&repository, "a/text", "one\ntwo\n");
    write(&repository, "a/binary", "a\0b");
    git(&repository, &["add", "a"]);
    git(&repository, &["commit", "--quiet", "--message=second"]);
    let mut seen = Vec::new();
    for (name, text) in [("file", "changed\n"), ("a/text", "one\n2\n"), ("a/binary", "a\0c")] {
        write(&repository, name, text);
        let digest = asked(inside.parent().unwrap()).unwrap().diff_sha256.unwrap();
        assert_eq!(digest, printed_and_digested(&repository), "{name}");
        assert!(!seen.contains(&digest), "{name}");
        seen.push(digest);
    }
    git(&repository, &["add", "."]);
    assert_eq!(asked(repository.path()).unwrap().diff_sha256.as_ref(), seen.last());
    git(&repository, &["reset", "--quiet", "--hard"]);
    assert_eq!(asked(repository.path()).unwrap().diff_sha256, None);
}

#[test]
fn how_a_user_likes_diffs_to_look_is_of_no_consequence() {
    let (repository, _) = repository();
    write(&repository, "file", "changed\n");
    let before = asked(repository.path()).unwrap().diff_sha256;
    for (name, value) in [
        ("color.ui", "always"),
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("diff.context", "0"),
        ("diff.algorithm", "patience"),
        ("diff.renames", "copies"),
        ("diff.relative", "true"),
        ("core.pager", "false"),
    ] {
        git(&repository, &["config", name, value]);
    }
    assert!(before.is_some());
    assert_eq!(asked(repository.path()).unwrap().diff_sha256, before);
}

#[test]
fn what_changed_in_a_submodule_makes_the_repository_dirty() {
    let (outer, _) = repository();
    let (inner, _) = repository();
    let url = inner.path().display().to_string();
    git(&outer, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "a/sub"]);
    git(&outer, &["commit", "--quiet", "--message=second"]);
    let elsewhere = write(&outer, "b/untracked", "");
    let described = || asked(elsewhere.parent().unwrap()).unwrap();
    assert_eq!((described().dirty, described().diff_sha256), (Some(false), None));
    write(&outer, "a/sub/untracked", "");
    assert_eq!(described().dirty, Some(false));
    write(&outer, "a/sub/file", "changed\n");
    assert_eq!(described().dirty, Some(true));
    assert_eq!(described().diff_sha256, Some(printed_and_digested(&outer)));
    // With a filter of the submodule's own it cannot be told, and the filter is not run.
    write(&outer, "a/sub/file", "COMMITTED\n");
    let config = outer.path().join(".git/modules/a/sub/config");
    let settings = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, settings + "[filter \"f\"]\n\tclean = touch ran; cat\n").unwrap();
    write(&outer, ".git/modules/a/sub/info/attributes", "file filter=f\n");
    assert_eq!(described().dirty, None);
    assert!(!outer.path().join("a/sub/ran").exists());
    write(&outer, "file", "changed\n");
    assert_eq!(described().dirty, Some(true));
}

#[test]
fn a_worktree_has_a_branch_and_changes_of_its_own() {
    let (repository, commit) = repository();
    git(&repository, &["worktree", "add", "--quiet", "-b", "topic", "tree"]);
    write(&repository, "tree/file", "changed\n");
    let worktree = asked(&repository.path().join("tree")).unwrap();
    assert_eq!((worktree.branch.as_deref(), worktree.commit), (Some("topic"), Some(commit)));
    assert_eq!((worktree.dirty, worktree.diff_sha256.is_some()), (Some(true), true));
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
}
