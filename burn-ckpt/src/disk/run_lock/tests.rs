//! One writer at a time, on file systems with locks and without.

use std::fs;
use std::sync::Arc;

use tempfile::tempdir;

use super::*;
use crate::ErrorKind as Kind;
use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};

/// A file system without locks.
struct NoLocks(i32);

impl Observer for NoLocks {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        match operation {
            Operation::Lock(..) => Verdict::Fail(io::Error::from_raw_os_error(self.0)),
            _ => Verdict::Proceed,
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_locks_a_run_is_written_unless_a_lock_is_required() {
    use rustix::io::Errno;
    for errno in [Errno::NOLCK, Errno::NOSYS, Errno::NOTSUP, Errno::INVAL] {
        let run = tempdir().unwrap();
        let _observation = observe(run.path(), Arc::new(NoLocks(errno.raw_os_error())));
        let lock = RunLock::acquire(run.path(), LockMode::IfPossible).unwrap();
        assert_eq!(lock.unsupported().unwrap().raw_os_error(), Some(errno.raw_os_error()));
        let error = RunLock::acquire(run.path(), LockMode::Required).unwrap_err();
        assert!(matches!(error, Error::Io { action: "lock", .. }), "{error:?}");
        assert!(RunLock::acquire(run.path(), LockMode::Off).unwrap().unsupported().is_none());
    }
    // Another error is one with every mode.
    let run = tempdir().unwrap();
    let _observation = observe(run.path(), Arc::new(NoLocks(Errno::IO.raw_os_error())));
    assert!(RunLock::acquire(run.path(), LockMode::IfPossible).is_err());
}

/// A file system that remembers a name as missing, and refuses to create it.
struct Contradicting;

impl Observer for Contradicting {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        match operation {
            Operation::Open(..) => Verdict::Fail(ErrorKind::NotFound.into()),
            Operation::CreateFile(..) => Verdict::Fail(ErrorKind::AlreadyExists.into()),
            _ => Verdict::Proceed,
        }
    }
}

#[test]
fn a_file_system_that_contradicts_itself_is_an_error_in_bounded_time() {
    let run = tempdir().unwrap();
    let _observation = observe(run.path(), Arc::new(Contradicting));
    let error = RunLock::acquire(run.path(), LockMode::IfPossible).unwrap_err();
    let Error::Io { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("look at the mount"), "{source}");
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let run = tempdir().unwrap();
    let lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
    let error = RunLock::acquire(run.path(), LockMode::IfPossible).unwrap_err();
    let Error::Locked { holder, .. } = &error else { panic!("{error:?}") };
    assert!(holder.starts_with(&format!("process {} on host ", std::process::id())), "{holder}");
    assert!(!holder.contains("lock"), "{holder}");
    drop(lock);
    assert!(!run.path().join(LOCK_FILE).exists());
    drop(RunLock::acquire(run.path(), LockMode::Required).unwrap());
}

#[test]
fn dropping_a_lock_leaves_the_lock_file_of_another_run() {
    let run = tempdir().unwrap();
    let (path, moved) = (run.path().join(LOCK_FILE), run.path().join("moved"));
    let lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
    // As if the run's directory was replaced by another one.
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "process 1 on host b\n").unwrap();
    drop(lock);
    assert_eq!(fs::read_to_string(&path).unwrap(), "process 1 on host b\n");
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_the_lock_file_is_an_error_and_its_target_stays() {
    let run = tempdir().unwrap();
    let precious = run.path().join("precious");
    fs::write(&precious, "mine").unwrap();
    std::os::unix::fs::symlink(&precious, run.path().join(LOCK_FILE)).unwrap();
    let error = RunLock::acquire(run.path(), LockMode::Required).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("it is a link"), "{error:?}");
    assert_eq!(error.kind(), Kind::Io);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
}

#[test]
fn a_reader_sees_who_holds_the_lock_and_changes_nothing() {
    let run = tempdir().unwrap();
    let path = run.path().join(LOCK_FILE);
    assert_eq!(lock_state(run.path()).unwrap(), LockState::Free);
    assert!(!path.exists());
    let lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
    let LockState::Held(holder) = lock_state(run.path()).unwrap() else { panic!("it is held") };
    let expected = format!("process {} on host ", std::process::id());
    assert!(holder.starts_with(&expected), "{holder}");
    drop(lock);
    assert_eq!(lock_state(run.path()).unwrap(), LockState::Free);

    // What a killed process leaves.
    fs::write(&path, "process 1 on host x (lock 0)\n").unwrap();
    let before = Timestamp::now() - Duration::from_secs(60);
    let LockState::Left(Some(started)) = lock_state(run.path()).unwrap() else { panic!("it is left") };
    assert!(started > before, "{started}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "process 1 on host x (lock 0)\n");
    // A process that only looks puts it back; one that trains does not.
    drop(RunLock::acquire(run.path(), LockMode::Required).unwrap());
    assert_eq!(lock_state(run.path()).unwrap(), LockState::Left(Some(started)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "process 1 on host x (lock 0)\n");
    drop(RunLock::acquire(run.path(), LockMode::Required).unwrap().with_file_removed());
    assert_eq!(lock_state(run.path()).unwrap(), LockState::Free);

    fs::create_dir(&path).unwrap();
    assert!(matches!(lock_state(run.path()), Err(Error::Io { action: "open the lock file", .. })));
}

#[cfg(unix)]
#[test]
fn where_locks_cannot_be_seen_nothing_is_said_of_a_holder() {
    let run = tempdir().unwrap();
    fs::write(run.path().join(LOCK_FILE), "").unwrap();
    let _observation = observe(run.path(), Arc::new(NoLocks(rustix::io::Errno::NOLCK.raw_os_error())));
    assert!(matches!(lock_state(run.path()), Err(Error::Io { action: "lock", .. })));
}

#[cfg(unix)]
#[test]
fn a_file_of_which_the_lock_file_is_another_name_keeps_its_bytes() {
    let run = tempdir().unwrap();
    let precious = run.path().join("precious");
    fs::write(&precious, "mine").unwrap();
    fs::hard_link(&precious, run.path().join(LOCK_FILE)).unwrap();
    let lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
    assert!(matches!(RunLock::acquire(run.path(), LockMode::Required), Err(Error::Locked { .. })));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    drop(lock);
    // A lock that is held in one run does not go to a copy of it, whose files are hard links.
    let copy = tempdir().unwrap();
    let lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
    fs::hard_link(run.path().join(LOCK_FILE), copy.path().join(LOCK_FILE)).unwrap();
    assert!(matches!(RunLock::acquire(copy.path(), LockMode::Required), Err(Error::Locked { .. })));
    assert!(matches!(RunLock::acquire(run.path(), LockMode::Required), Err(Error::Locked { .. })));
    drop(lock);
    drop(RunLock::acquire(copy.path(), LockMode::Required).unwrap());
}

#[test]
fn what_a_process_leaves_that_does_not_train_says_nothing() {
    let run = tempdir().unwrap();
    let path = run.path().join(LOCK_FILE);
    let left_by = |lock: RunLock| {
        let text = fs::read(&path).unwrap();
        drop(lock);
        fs::write(&path, &text).unwrap();
        String::from_utf8(text).unwrap()
    };
    left_by(RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap());
    assert_eq!(lock_state(run.path()).unwrap(), LockState::Free);
    // One that trains leaves no trace of it, and is what a kill leaves.
    left_by(RunLock::acquire(run.path(), LockMode::Required).unwrap());
    assert!(matches!(lock_state(run.path()).unwrap(), LockState::Left(Some(_))));
    let both = left_by(RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap());
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(matches!(lock_state(run.path()).unwrap(), LockState::Left(Some(_))));
    // Two that are killed do not add up, and the last that ends well puts back what the first had left.
    left_by(RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap());
    drop(RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", both.lines().next().unwrap()));
}

/// A disk with room for this many more bytes of a file.
struct Full(u64);

impl Observer for Full {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let &Operation::Write { offset, bytes, .. } = operation else { return Verdict::Proceed };
        match self.0.saturating_sub(offset) {
            room if room >= bytes.len() as u64 => Verdict::Proceed,
            room => Verdict::Part(room as usize, io::Error::from(ErrorKind::StorageFull)),
        }
    }
}

#[test]
fn a_lock_file_that_a_full_disk_leaves_empty_is_removed_as_it_would_be_the_sign_of_a_kill() {
    let run = tempdir().unwrap();
    let _observation = observe(run.path(), Arc::new(Full(0)));
    let error = RunLock::acquire(run.path(), LockMode::Required).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write the lock file", .. }), "{error:?}");
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
}

#[test]
fn a_process_that_makes_room_holds_its_lock_on_a_full_disk() {
    for room in [0, 10] {
        let run = tempdir().unwrap();
        let path = run.path().join(LOCK_FILE);
        let _observation = observe(run.path(), Arc::new(Full(room)));
        let lock = RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert!(matches!(RunLock::acquire(run.path(), LockMode::Required), Err(Error::Locked { .. })));
        let Err(Error::Locked { .. }) = RunLock::acquire_to_tidy(run.path(), LockMode::Required) else {
            panic!("two hold it")
        };
        drop(lock);
        assert!(!path.exists());
        drop(RunLock::acquire_file(run.path(), "other.lock", LockMode::Required).unwrap());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_a_killed_process_has_left_stays_where_the_disk_has_no_room_for_more() {
    let run = tempdir().unwrap();
    let path = run.path().join(LOCK_FILE);
    let text = "process 1 on host x (lock 0)\n";
    fs::write(&path, text).unwrap();
    let left = lock_state(run.path()).unwrap();
    let _observation = observe(run.path(), Arc::new(Full(text.len() as u64 + 10)));
    let lock = RunLock::acquire_to_tidy(run.path(), LockMode::Required).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(matches!(RunLock::acquire(run.path(), LockMode::Required), Err(Error::Locked { .. })));
    drop(lock);
    assert_eq!(
        (lock_state(run.path()).unwrap(), fs::read_to_string(&path).unwrap()),
        (left, text.to_owned())
    );
}

#[test]
fn a_lock_says_a_start_after_the_newest_checkpoint_also_when_the_clock_was_set_back() {
    let run = tempdir().unwrap();
    let path = run.path().join(LOCK_FILE);
    let left = || {
        let mut lock = RunLock::acquire(run.path(), LockMode::Required).unwrap();
        let started =
            |lock: &RunLock| Timestamp::try_from(fs::metadata(&lock.path).unwrap().modified().unwrap());
        let before = started(&lock).unwrap();
        lock.started_after(Timestamp::UNIX_EPOCH);
        assert_eq!(started(&lock).unwrap(), before);
        let newest = before + Duration::from_secs(3600);
        lock.started_after(newest);
        let text = fs::read(&path).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        drop(lock);
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        newest
    };
    let newest = left();
    let state = lock_state(run.path()).unwrap();
    assert!(state.was_killed_since(newest), "{state:?}");
    // Not since the next checkpoint, which that process saves.
    assert!(!state.was_killed_since(newest + Duration::from_nanos(1)), "{state:?}");
}
