//! Digests of a run's files, each read once, whatever number of names it has.

use std::collections::HashMap;
use std::path::Path;
#[cfg(not(unix))]
use std::path::PathBuf;

use burn_ckpt::plumbing::sha256_of_file;

/// SHA-256 digests of files. A file with several names is read once.
#[derive(Debug, Default)]
pub(super) struct FileDigests(HashMap<FileId, String>);

#[cfg(unix)]
pub(crate) type FileId = (u64, u64);
#[cfg(not(unix))]
pub(crate) type FileId = PathBuf;

impl FileDigests {
    pub(super) fn note(&mut self, path: &Path, digest: String) {
        if let Some(id) = file_id(path) {
            self.0.insert(id, digest);
        }
    }

    pub(super) fn of(&mut self, path: &Path) -> burn_ckpt::Result<String> {
        if let Some(known) = file_id(path).and_then(|id| self.0.get(&id)) {
            return Ok(known.clone());
        }
        let digest = sha256_of_file(path)?;
        self.note(path, digest.clone());
        Ok(digest)
    }
}

/// What tells a file from all others, whatever its name. `None` where it cannot be read.
#[cfg(unix)]
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What tells a file from all others, whatever its name. `None` where it cannot be read.
#[cfg(not(unix))]
pub(crate) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::canonicalize(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_with_two_names_is_read_once() {
        let directory = std::env::temp_dir().join(format!("burn-trainer-digests-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let [first, second, other] = ["first", "second", "other"].map(|name| directory.join(name));
        std::fs::write(&first, "a state").unwrap();
        std::fs::hard_link(&first, &second).unwrap();
        let mut digests = FileDigests::default();
        let digest = digests.of(&first).unwrap();
        // A second read would find other bytes.
        std::fs::write(&first, "another").unwrap();
        std::fs::write(&other, "another").unwrap();
        let found = (digests.of(&second).unwrap(), digests.of(&other).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.0, digest);
        assert_ne!(found.1, digest);
    }
}
