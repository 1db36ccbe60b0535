//! The names of states that would have one name: `model`, `model-v1`, `model-v2`, and so on.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::disk::directories::parent;
use crate::disk::storage;
use crate::file_names::{
    CHECKPOINT_SUFFIX, METADATA_SUFFIX, SHARDS_SUFFIX, folded, metadata_path, same_file_name,
};

/// The highest number of each name. A number is used once, also when the file that had it is removed: which
/// file is newer, and which name a state gets, must not depend on whether an older one is removed already.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By directory and name, without a difference between capital and small letters, as on some file
    /// systems; 0 for the name itself.
    used: HashMap<PathBuf, u64>,
    /// The directories whose files are in `used`. Each is listed once: later only this run adds files.
    listed: HashSet<PathBuf>,
    /// The stem of each path of a state that is not saved yet.
    stems: HashMap<PathBuf, String>,
    /// The paths that other runs had taken, with those that the states got.
    renamed: HashMap<PathBuf, PathBuf>,
}

impl Versions {
    /// A path for a new state, beside those that are `reserved` for the same state already.
    pub(super) fn next_path(&mut self, directory: &Path, stem: &str, reserved: &[PathBuf]) -> PathBuf {
        if self.listed.insert(directory.to_path_buf()) {
            self.list(directory);
        }
        let name = directory.join(folded(stem));
        let mut version = self.used.get(&name).map_or(0, |used| used + 1);
        let path = loop {
            let path = versioned(directory, stem, version);
            let is_reserved = reserved.iter().any(|other| is_one_file(other, &path));
            if !is_reserved && !is_known_to_be_taken(&path) && !is_known_to_be_taken(&metadata_path(&path)) {
                break path;
            }
            version += 1;
        };
        self.used.insert(name, version);
        self.stems.insert(path.clone(), stem.to_owned());
        path
    }

    /// The next path for a state whose path another run has taken meanwhile. `None` for a path that no state
    /// has reserved.
    pub(super) fn rename(&mut self, taken: &Path) -> Option<PathBuf> {
        let stem = self.stems.remove(taken)?;
        let next = self.next_path(parent(taken), &stem, &[]);
        self.renamed.insert(taken.to_path_buf(), next.clone());
        Some(next)
    }

    /// The path that a state has which had this one first.
    pub(super) fn name_of(&self, reserved: &Path) -> PathBuf {
        let mut name = reserved;
        // Each number is higher than the one before.
        while let Some(next) = self.renamed.get(name) {
            name = next;
        }
        name.to_path_buf()
    }

    /// Notes that a state is saved under its path, or not saved.
    pub(super) fn settle(&mut self, path: &Path) {
        self.stems.remove(path);
    }

    /// Notes the names of a directory's files. A directory that cannot be listed has none: a file that is in
    /// the way is seen when its name is wanted.
    fn list(&mut self, directory: &Path) {
        let Ok(Some(paths)) = storage::list(directory) else { return };
        for path in paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let name = name.strip_suffix(METADATA_SUFFIX).unwrap_or(name);
            let stem = name.strip_suffix(CHECKPOINT_SUFFIX).or_else(|| name.strip_suffix(SHARDS_SUFFIX));
            let Some(stem) = stem else { continue };
            self.note(directory.join(folded(stem)), 0);
            // `model-v2` is the third state of the name `model`, or the first of its own name.
            if let Some((stem, version)) = stem.rsplit_once("-v")
                && let Ok(version) = version.parse::<u32>()
            {
                self.note(directory.join(folded(stem)), version.into());
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

/// Whether two paths are those of one file on some file system.
fn is_one_file(a: &Path, b: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    a.parent() == b.parent() && same_file_name(&name(a), &name(b))
}

/// Whether a name is taken, as far as that can be found out. An error of the system counts as free here:
/// publishing the state meets it again, and replaces no file.
fn is_known_to_be_taken(path: &Path) -> bool {
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
    fn a_users_file_with_the_highest_number_there_is_ends_no_run() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(format!("model-v{}.ckpt", u64::MAX)), "").unwrap();
        let path = Versions::default().next_path(directory.path(), "model", &[]);
        assert_eq!(path, directory.path().join("model.ckpt"));
    }

    #[test]
    fn names_that_differ_in_capital_letters_have_files_of_their_own_on_each_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let mut versions = Versions::default();
        let mut next =
            |stem: &str, reserved: &[PathBuf]| versions.next_path(directory.path(), stem, reserved);
        let first = next("Epoch=0", &[]);
        assert_eq!(first, directory.path().join("Epoch=0.ckpt"));
        // Of the same state, and of another one while the first is being written.
        assert_eq!(next("epoch=0", std::slice::from_ref(&first)), directory.path().join("epoch=0-v1.ckpt"));
        assert_eq!(next("EPOCH=0", &[]), directory.path().join("EPOCH=0-v2.ckpt"));
        std::fs::write(directory.path().join("Other-v7.ckpt"), "").unwrap();
        let mut versions = Versions::default();
        assert_eq!(
            versions.next_path(directory.path(), "other", &[]),
            directory.path().join("other-v8.ckpt")
        );
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
