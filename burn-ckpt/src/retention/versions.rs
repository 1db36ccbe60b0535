//! The names of states that would have one name: `model`, `model-v1`, `model-v2`, and so on.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::disk::storage;
use crate::file_names::{CHECKPOINT_SUFFIX, METADATA_SUFFIX, SHARDS_SUFFIX, metadata_path};

/// The highest number of each name. A number is used once, also when the file that had it is removed: which file is newer, and
/// which name a state gets, must not depend on whether an older one is removed already.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By directory and name; 0 for the name itself.
    used: HashMap<PathBuf, u64>,
    /// The directories whose files are in `used`. Each is listed once: later only this run adds files.
    listed: HashSet<PathBuf>,
}

impl Versions {
    /// A path for a new state, beside those that are `reserved` for the same state already.
    pub(super) fn next_path(&mut self, directory: &Path, stem: &str, reserved: &[PathBuf]) -> PathBuf {
        if self.listed.insert(directory.to_path_buf()) {
            self.list(directory);
        }
        let name = directory.join(stem);
        let mut version = self.used.get(&name).map_or(0, |used| used + 1);
        let path = loop {
            let path = versioned(directory, stem, version);
            if !reserved.contains(&path) && !is_there(&path) && !is_there(&metadata_path(&path)) {
                break path;
            }
            version += 1;
        };
        self.used.insert(name, version);
        path
    }

    /// Notes the names of a directory's files. A directory that cannot be listed has none: a file that is in the way is seen when
    /// its name is wanted.
    fn list(&mut self, directory: &Path) {
        let Ok(Some(paths)) = storage::list(directory) else { return };
        for path in paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let name = name.strip_suffix(METADATA_SUFFIX).unwrap_or(name);
            let stem = name.strip_suffix(CHECKPOINT_SUFFIX).or_else(|| name.strip_suffix(SHARDS_SUFFIX));
            let Some(stem) = stem else { continue };
            self.note(directory.join(stem), 0);
            // `model-v2` is the third state of the name `model`, or the first of its own name.
            if let Some((stem, version)) = stem.rsplit_once("-v")
                && let Ok(version) = version.parse()
            {
                self.note(directory.join(stem), version);
            }
        }
    }

    fn note(&mut self, name: PathBuf, version: u64) {
        let used = self.used.entry(name).or_default();
        *used = version.max(*used);
    }
}

fn versioned(directory: &Path, stem: &str, version: u64) -> PathBuf {
    match version {
        0 => directory.join(format!("{stem}{CHECKPOINT_SUFFIX}")),
        version => directory.join(format!("{stem}-v{version}{CHECKPOINT_SUFFIX}")),
    }
}

/// Whether a name is taken. One of which that cannot be found out is taken for free: publishing replaces no file.
fn is_there(path: &Path) -> bool {
    matches!(storage::entry(path), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_once_also_when_its_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut versions = Versions::default();
        let mut next = |reserved: &[PathBuf]| {
            let path = versions.next_path(directory.path(), "model", reserved);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(next(&[]), "model.ckpt");
        std::fs::write(directory.path().join("model.ckpt"), "").unwrap();
        assert_eq!(next(&[]), "model-v1.ckpt");
        std::fs::remove_file(directory.path().join("model.ckpt")).unwrap();
        assert_eq!(next(&[]), "model-v2.ckpt");
        assert_eq!(next(&[directory.path().join("model-v3.ckpt")]), "model-v4.ckpt");
        std::fs::write(directory.path().join("model-v5.ckpt.metadata.json"), "").unwrap();
        assert_eq!(next(&[]), "model-v6.ckpt", "a file that came meanwhile");
    }

    #[test]
    fn the_highest_number_on_disk_counts() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "model-v8.ckpt.metadata.json",
            "model-v2.ckpt",
            "model-v7.shards",
            "model-v99x.ckpt",
            "models-v99.ckpt",
        ] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let next = Versions::default().next_path(directory.path(), "model", &[]);
        assert_eq!(next, directory.path().join("model-v9.ckpt"));
    }
}
