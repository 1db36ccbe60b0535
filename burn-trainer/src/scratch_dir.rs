//! A directory of a test's own, removed at its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// A new directory below the system's temporary one.
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes a directory that no other test, thread or process has.
    pub(crate) fn new(label: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("burn-trainer-{label}-{}-{number}", process::id());
            let path = std::env::temp_dir().join(name);
            // A process that was killed may have left one of this name: take the next.
            if fs::create_dir(&path).is_ok() {
                return Self(path);
            }
            assert!(path.exists(), "cannot create {}", path.display());
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A test that fails already has its message; this must not replace it by a second panic.
        let _ = fs::remove_dir_all(&self.0);
    }
}
