//! What a repository may not do: start a program, be changed, disclose a remote, or hang.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use tempfile::tempdir;

use super::{asked, far_off, git, repository};
use crate::git::description::read_with;
use crate::git::repository::{MAX_SETTINGS_BYTES, Repository};
use crate::write_file::write;

#[test]
fn no_variable_that_git_holds_for_local_to_a_repository_is_handed_on() {
    let git = OsStr::new("git");
    let repository = Repository { program: git, directory: Path::new("."), deadline: far_off() };
    let command = repository.command(&[], &["status"]);
    let changes: Vec<_> = command.get_envs().collect();
    let local = Command::new("git").args(["rev-parse", "--local-env-vars"]).output().unwrap();
    let local = String::from_utf8(local.stdout).unwrap();
    // Settings are the user's wherever they come from.
    for name in local.lines().filter(|name| !name.starts_with("GIT_CONFIG")) {
        assert!(changes.contains(&(OsStr::new(name), None)), "{name}");
    }
    assert!(local.contains("GIT_DIR"));
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
    let file = write(&repository, "file", "committed\n");
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let index = repository.path().join(".git/index");
    let before = std::fs::read(&index).unwrap();
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
    assert_eq!(std::fs::read(&index).unwrap(), before);
}

/// Each of them would leave a file behind.
#[cfg(unix)]
#[test]
fn no_program_that_the_repository_names_is_run() {
    let (repository, _) = repository();
    let ran = repository.path().join("ran").display().to_string();
    let program = write(&repository, "program", &format!("#!/bin/sh\ntouch '{ran}'\ncat\n"));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, permissions).unwrap();
    let program = program.display().to_string();
    for hook in ["post-index-change", "reference-transaction", "pre-commit"] {
        let hook = repository.path().join(".git/hooks").join(hook);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::copy(&program, hook).unwrap();
    }
    let harmless = ["core.fsmonitor", "diff.external", "diff.d.command", "diff.d.textconv", "core.pager"];
    for name in harmless.into_iter().chain(["filter.f.clean", "filter.f.process", "filter.f.smudge"]) {
        git(&repository, &["config", name, &program]);
    }
    let info = write(&repository, ".git/info/attributes", "file diff=d\n");
    write(&repository, "file", "changed\n");
    let described = asked(repository.path()).unwrap();
    assert_eq!(described.dirty, Some(true));
    assert!(described.diff_sha256.is_some());

    std::fs::write(info, "file diff=d filter=f\n").unwrap();
    // Of another size than before, which is enough for the one and not for the other.
    let described = asked(repository.path()).unwrap();
    assert_eq!((described.dirty, described.diff_sha256), (Some(true), None));
    write(&repository, "file", "COMMITTED\n");
    let described = asked(repository.path()).unwrap();
    assert_eq!((described.dirty, described.diff_sha256), (None, None));
    assert!(described.commit.is_some());
    assert!(!repository.path().join("ran").exists());

    // The judge sees what there is to see.
    let mut status = Command::new("git");
    status.args(["status", "--porcelain"]).current_dir(repository.path()).output().unwrap();
    assert!(repository.path().join("ran").exists());
}

#[test]
fn a_filter_whose_name_is_not_a_setting_leaves_the_changes_unknown() {
    let (repository, _) = repository();
    std::fs::write(repository.path().join("file"), "changed\n").unwrap();
    git(&repository, &["config", "filter.a.b.clean", "false"]);
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(true));
    write(&repository, ".git/config", "[filter \"a=b\"]\n\tclean = false\n");
    let described = asked(repository.path()).unwrap();
    assert_eq!((described.dirty, described.diff_sha256), (None, None));
}

#[test]
fn more_settings_than_the_limit_leave_the_changes_unknown() {
    let (repository, _) = repository();
    let config = repository.path().join(".git/config");
    let settings = std::fs::read_to_string(&config).unwrap();
    let line = "\tkey = 1\n";
    // Each is listed as `a.key` and a byte for its end.
    let lines = MAX_SETTINGS_BYTES as usize / "a.key\0".len();
    std::fs::write(&config, format!("{settings}[a]\n{}", line.repeat(lines / 2))).unwrap();
    assert_eq!(asked(repository.path()).unwrap().dirty, Some(false));
    std::fs::write(&config, format!("{settings}[a]\n{}", line.repeat(lines))).unwrap();
    assert_eq!(asked(repository.path()).unwrap().dirty, None);
}

#[cfg(unix)]
#[test]
fn a_repository_of_another_user_is_none() {
    let (repository, _) = repository();
    // What git's own tests do.
    let script = r#"GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec git "$@""#;
    let program = write(&repository, "git", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(read_with(program.as_os_str(), repository.path(), far_off()), None);
}

#[test]
fn what_only_looks_like_a_repository_gives_none() {
    for git_file in ["gitdir: nowhere\n", "", "\0"] {
        let directory = tempdir().unwrap();
        write(&directory, ".git", git_file);
        assert_eq!(asked(directory.path()), None);
    }
    let directory = tempdir().unwrap();
    write(&directory, ".git/HEAD", "\0");
    assert_eq!(asked(directory.path()), None);
}

#[cfg(unix)]
#[test]
fn a_git_that_does_not_answer_in_time_tells_nothing() {
    let (repository, _) = repository();
    let program = write(&repository, "git", "#!/bin/sh\nsleep 600\n");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(read_with(program.as_os_str(), repository.path(), deadline), None);
    assert!(Instant::now() < deadline + Duration::from_mins(5));
}
