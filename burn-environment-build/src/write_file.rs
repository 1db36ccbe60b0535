//! For tests: writes a file into a temporary directory.

use std::path::PathBuf;

use tempfile::TempDir;

/// Writes a file into the directory, and creates the directories above the file.
pub(crate) fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}
