//! The built programs on file systems that cannot do all that a run would like to do, by a C library whose
//! operations fail (`failing_calls.c`): a run trains, says once what is missing, and resumes; what cannot be
//! passed over is an error.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn_ckpt::plumbing::RunLock;
use burn_trainer::config::LockMode;
use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with};
use system_tests::programs::running::{Ended, Running, programs, warmup};
use system_tests::run_files::{checkpoints, compare, complete_checkpoints, described_state, files, run_dir};
use system_tests::storage_faults::errors::{
    EACCES, EBADF, EDQUOT, EINVAL, EIO, EMLINK, ENOLCK, ENOSPC, ENOSYS, ENOTSUP, EPERM, EROFS, ESTALE, EXDEV,
};
use system_tests::storage_faults::{FailingCall, FailingCalls, SHORT_WRITE};

const FIRST: &str = "--run-id r1 --epochs 2";
const RESUMED: &str = "--run-id r1 --epochs 3 --ckpt-path auto";

/// Runs `warmup` where each of these operations below a directory fails.
fn trained(
    calls: &FailingCalls,
    root: &Path,
    arguments: &str,
    below: &Path,
    call: &'static str,
    errno: i32,
) -> Ended {
    let mut command = warmup(root, arguments);
    calls.apply(&mut command, below, FailingCall { call, at: 0, errno });
    Running::start(command).end()
}

#[test]
fn what_a_file_system_cannot_do_is_said_once_and_a_run_resumes_on_it() {
    let calls = FailingCalls::compile();
    let whole = tempfile::tempdir().unwrap();
    Running::start(warmup(whole.path(), "--run-id r1 --epochs 3")).end_well();
    for (call, errno, said) in [
        ("lock", ENOLCK, "has no locks"),
        ("lock", ENOSYS, "has no locks"),
        ("lock", EBADF, "has no locks"),
        ("sync_directory", EINVAL, "cannot sync a directory"),
        ("sync_directory", ENOTSUP, "cannot sync a directory"),
        ("hard_link", EPERM, ""),
        ("hard_link", EMLINK, ""),
        ("hard_link", EXDEV, ""),
        ("symlink", EPERM, ""),
        ("symlink", ENOTSUP, ""),
    ] {
        let root = tempfile::tempdir().unwrap();
        for arguments in [FIRST, RESUMED] {
            let ended = trained(&calls, root.path(), arguments, root.path(), call, errno);
            assert_eq!(ended.code(), Some(0), "{call} {errno}: {ended:?}");
            let warnings: Vec<&str> =
                ended.stderr.lines().filter(|line| line.starts_with("warning:")).collect();
            assert_eq!(warnings.len(), usize::from(!said.is_empty()), "{call} {errno}: {warnings:?}");
            assert!(warnings.iter().all(|line| line.contains(said)), "{call} {errno}: {warnings:?}");
        }
        let left = checkpoints(root.path());
        assert_eq!(complete_checkpoints(&left), Ok(if call == "symlink" { 4 } else { 2 }), "{call} {errno}");
        assert!(files(&left).iter().all(|name| !name.contains("staging")), "{call} {errno}");
        let state = |root: &Path| described_state(&checkpoints(root).join("last.ckpt"));
        assert_eq!(state(root.path()), state(whole.path()), "{call} {errno}");
        // The program that reads checkpoints, there.
        for verb in ["ls", "verify"] {
            let mut command = burn_ckpt_command();
            command.arg(verb).arg(run_dir(root.path()));
            calls.apply(&mut command, root.path(), FailingCall { call, at: 0, errno });
            let (printed, _) = ended_with(&command.output().unwrap(), 0);
            let expected = if verb == "ls" { "whole" } else { "verified  " };
            assert!(printed.contains(expected), "{call} {errno}: {printed}");
        }
        let mut command = burn_ckpt_command();
        command.arg("prune").arg(run_dir(root.path())).args(["--keep", "links"]);
        calls.apply(&mut command, root.path(), FailingCall { call, at: 0, errno });
        let (_, printed) = ended_with(&command.output().unwrap(), 0);
        let is_said =
            printed.contains("warning: the file system of") && printed.contains("Unfinished files stay");
        assert_eq!(is_said, call == "lock", "{call} {errno}: {printed}");
    }
}

#[test]
fn what_cannot_be_passed_over_is_an_error_that_costs_nothing() {
    let calls = FailingCalls::compile();
    let whole = tempfile::tempdir().unwrap();
    Running::start(warmup(whole.path(), "--run-id r1 --epochs 3")).end_well();
    // What fails, and whether it does before training.
    for (call, errno, said, before) in [
        ("lock", ESTALE, "cannot lock", true),
        ("list", ESTALE, "cannot list", true),
        ("stat", ESTALE, "cannot find out what is at", true),
        ("read", EIO, "Input/output error", true),
        ("sync", EIO, "saving step 90 failed: cannot sync", false),
        ("sync_directory", EIO, "cannot sync the directory", true),
        ("write", ENOSPC, "saving step 90 failed: cannot write", false),
        ("write", EDQUOT, "saving step 90 failed: cannot write", false),
        ("write", EROFS, "saving step 90 failed: cannot write", false),
    ] {
        let root = tempfile::tempdir().unwrap();
        Running::start(warmup(root.path(), FIRST)).end_well();
        let state = |root: &Path| described_state(&checkpoints(root).join("last.ckpt"));
        let saved = state(root.path());
        let below = if before { root.path().to_path_buf() } else { checkpoints(root.path()) };
        let ended = trained(&calls, root.path(), RESUMED, &below, call, errno);
        assert_eq!(ended.code(), Some(1), "{call}: {ended:?}");
        assert!(ended.stderr.contains(said), "{call}: {ended:?}");
        assert_eq!(ended.stderr.contains("epoch 3/3 train"), !before, "{call}: {ended:?}");
        assert_eq!(state(root.path()), saved, "{call}");
        Running::start(warmup(root.path(), RESUMED)).end_well();
        compare(&run_dir(whole.path()), &run_dir(root.path()))
            .unwrap_or_else(|reason| panic!("{call}: {reason}"));
    }
}

#[test]
fn where_no_directory_can_be_made_nothing_is_trained_and_the_next_start_begins() {
    let calls = FailingCalls::compile();
    for errno in [EACCES, EROFS, ENOSPC, EDQUOT] {
        let root = tempfile::tempdir().unwrap();
        let ended = trained(&calls, root.path(), FIRST, root.path(), "mkdir", errno);
        assert_eq!(ended.code(), Some(1), "{errno}: {ended:?}");
        assert!(ended.stderr.contains("cannot create the directory"), "{errno}: {ended:?}");
        assert!(!ended.stderr.contains("epoch 1/2"), "{errno}: {ended:?}");
        assert_eq!(files(root.path()), Vec::<String>::new(), "{errno}");
        Running::start(warmup(root.path(), FIRST)).end_well();
    }
}

#[test]
fn where_each_write_does_half_of_what_it_is_asked_for_a_run_is_as_any_other() {
    let calls = FailingCalls::compile();
    let (whole, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Running::start(warmup(whole.path(), FIRST)).end_well();
    let ended = trained(&calls, root.path(), FIRST, root.path(), "write", SHORT_WRITE);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
    assert_eq!(complete_checkpoints(&checkpoints(root.path())), Ok(2));
    compare(&run_dir(whole.path()), &run_dir(root.path())).unwrap_or_else(|reason| panic!("{reason}"));
}

#[test]
fn a_link_that_cannot_be_moved_at_the_end_is_said_fails_the_program_and_is_moved_by_the_next_start() {
    let calls = FailingCalls::compile();
    let (whole, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Running::start(warmup(whole.path(), "--run-id r1 --epochs 3")).end_well();
    Running::start(warmup(root.path(), FIRST)).end_well();
    let link = checkpoints(root.path()).join("last.ckpt");
    let older = fs::read_link(&link).unwrap();
    let ended = trained(&calls, root.path(), RESUMED, &link, "rename", EIO);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let named = "a link leads to an older checkpoint than it should: cannot create";
    let line = ended.stderr.lines().find(|line| line.starts_with(named));
    let line = line.unwrap_or_else(|| panic!("{ended:?}"));
    assert!(line.contains("last.ckpt") && line.contains("The next start of the run moves it"), "{line}");
    // The new state is there, and what the link leads to too.
    assert_eq!(fs::read_link(&link).unwrap(), older);
    assert_eq!(complete_checkpoints(&checkpoints(root.path())).map(|count| count >= 3), Ok(true));
    let newest = checkpoints(root.path()).join("last/epoch=2-step=90.ckpt");
    ended_with(&burn_ckpt(&[&"verify", &newest]), 0);

    Running::start(warmup(root.path(), RESUMED)).end_well();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("last/epoch=2-step=90.ckpt"));
    compare(&run_dir(whole.path()), &run_dir(root.path())).unwrap_or_else(|reason| panic!("{reason}"));
}

#[test]
fn a_directory_in_the_place_of_a_link_fails_the_program_which_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let in_the_way = checkpoints(root.path()).join("last.ckpt");
    fs::create_dir_all(in_the_way.join("mine")).unwrap();
    let ended = Running::start(warmup(root.path(), FIRST)).end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("a link leads to an older checkpoint than it should"), "{ended:?}");
    assert!(ended.stderr.contains("remove it, or move it away"), "{ended:?}");
    // The next start sees it before it trains.
    let ended = Running::start(warmup(root.path(), RESUMED)).end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("last.ckpt: what is there is not a regular file: remove it"), "{ended:?}");
    assert!(!ended.stderr.contains("epoch 3/3"), "{ended:?}");
    assert!(in_the_way.join("mine").is_dir());
    fs::remove_dir_all(&in_the_way).unwrap();
    Running::start(warmup(root.path(), RESUMED)).end_well();
    assert_eq!(fs::read_link(&in_the_way).unwrap(), Path::new("last/epoch=2-step=90.ckpt"));
}

/// Whether this process may do everything: it is root.
fn is_root(directory: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(directory).unwrap()) == 0
}

#[test]
fn a_lock_file_that_may_be_read_but_not_written_locks_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let lock = run.join("run.lock");
    fs::create_dir_all(&run).unwrap();
    fs::write(&lock, "process 1 on host b\n").unwrap();
    sh(&format!("chmod 755 '{0}'; chmod 444 '{1}'", root.path().display(), lock.display()));
    // Root may write any file: the program is then started as another user, to whom all but the lock file
    // belongs.
    let mut words = Vec::new();
    if is_root(root.path()) {
        const UNPRIVILEGED: u32 = 65534;
        let copied = root.path().join("warmup");
        fs::copy(programs().join("warmup"), &copied).unwrap();
        sh(&format!(
            "chown -R {UNPRIVILEGED}:{UNPRIVILEGED} '{0}'; chown 0:0 '{1}'",
            root.path().display(),
            lock.display()
        ));
        words = format!(
            "setpriv --reuid {UNPRIVILEGED} --regid {UNPRIVILEGED} --clear-groups {}",
            copied.display()
        )
        .split(' ')
        .map(str::to_owned)
        .collect();
    }
    let start = |arguments: &str| {
        let usual = warmup(root.path(), arguments);
        let Some((program, first)) = words.split_first() else { return Running::start(usual).end() };
        let mut command = Command::new(program);
        command.args(first).arg("--root").arg(root.path()).args(arguments.split(' '));
        Running::start(command).end()
    };
    let held = RunLock::acquire(&run, LockMode::Required).unwrap();
    let ended = start("--run-id r1 --epochs 1");
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("is in use by process"), "{ended:?}");
    // Without its removal of the file: the other process was killed.
    std::mem::forget(held);
    let moved = fs::rename(&lock, run.join("held")).and_then(|()| fs::copy(run.join("held"), &lock));
    moved.unwrap();
    let ended = start("--run-id r1 --epochs 1");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(complete_checkpoints(&checkpoints(root.path())), Ok(2));
}

fn sh(script: &str) {
    let ended = Command::new("sh").args(["-ec", script]).output().unwrap();
    ended_with(&ended, 0);
}
