//! The names that checkpoints on disk have in a mirror, and where on disk the checkpoints of a mirror are.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::disk::directories::real_path;
use crate::error::{Error, Result};
use crate::file_names::{CHECKPOINT_SUFFIX, shard_name, shards_directory};
use crate::format::metadata::listed::MetadataParts;
use crate::mirror::object_names::{check_relative, fork_name};
use crate::run_dir::layout::RunLayout;
use crate::run_dir::other_runs::scan_with;
use crate::run_dir::outside_directories::outside_directories;

/// The directory in the mirror of checkpoints that a strategy saves outside of the run's directory.
///
/// ```
/// use burn_ckpt::mirror::{MirrorKeep, OUTSIDE_DIR};
///
/// let keep = MirrorKeep::all().and_newest_in(OUTSIDE_DIR, 2);
/// ```
pub const OUTSIDE_DIR: &str = "outside";
/// What is wrong with a name, in errors.
const WHAT: &str = "the checkpoint's name in the mirror";

/// A checkpoint's name in the mirror: its path relative to the run's `checkpoint` directory.
///
/// # Errors
///
/// [`Error::Name`] for a name that no reader of a mirror accepts.
pub(super) fn name_in_mirror(run: &RunLayout, checkpoint: &Path) -> Result<String> {
    let (real, own) = (real_path(checkpoint)?, real_path(&run.checkpoint_dir()));
    let below = own.ok().and_then(|own| real.strip_prefix(own).ok().map(Path::to_path_buf));
    let path = below.unwrap_or_else(|| Path::new(OUTSIDE_DIR).join(real.file_name().unwrap_or_default()));
    let name = in_utf8(&path)?;
    check_relative(WHAT, &name)?;
    Ok(name)
}

/// Checks that a mirror can have the checkpoints of a strategy's directory, as it is configured: absolute, or
/// relative to the `checkpoint` directory. Looks at no disk.
///
/// # Errors
///
/// [`Error::Name`] for a directory of which no reader of a mirror accepts a checkpoint.
#[doc(hidden)]
pub fn check_dirpath(dirpath: &Path) -> Result<()> {
    let mut below = PathBuf::new();
    for part in dirpath.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => below.push(part),
            Component::ParentDir if below.pop() => {}
            // Outside of the run's directory: the mirror has the names of the files alone.
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(()),
        }
    }
    // A state can be in several files, which are one directory deeper, and can get a second name.
    let checkpoint = below.join(format!("x{CHECKPOINT_SUFFIX}"));
    let file = in_utf8(&shards_directory(&checkpoint).join(shard_name(1, 1)))?;
    check_relative("the directory", &fork_name(1, &file))
}

fn in_utf8(path: &Path) -> Result<String> {
    let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| {
        let (what, name) = ("the checkpoint's path", path.to_string_lossy().into_owned());
        Error::Name { what, name, reason: "a mirror takes names in UTF-8".to_owned() }
    })
}

/// Where on disk the checkpoints of a mirror are, by their names there.
#[doc(hidden)]
#[derive(Debug)]
pub struct PathsOnDisk {
    checkpoint_dir: PathBuf,
    /// Of the names below [`OUTSIDE_DIR`], the newest first.
    outside: BTreeMap<String, Vec<PathBuf>>,
}

impl PathsOnDisk {
    /// Those of a run's own directory. Nothing is known of the others.
    #[must_use]
    pub fn of_own(run: &RunLayout) -> Self {
        Self { checkpoint_dir: run.checkpoint_dir(), outside: BTreeMap::new() }
    }

    /// Looks where the checkpoints of these names are. Reads the run's directories only for names of
    /// checkpoints outside of them.
    ///
    /// # Errors
    ///
    /// As for [`Catalog::scan`](crate::Catalog::scan).
    pub fn find<'a>(run: &RunLayout, mut names: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut found = Self::of_own(run);
        if !names.any(is_outside) {
            return Ok(found);
        }
        let outside = outside_directories(run)?;
        let catalog = scan_with(run, &outside, MetadataParts::Listed, |_| (), |_, _| ())?;
        // A download puts them into the run's own directory.
        for entry in catalog.entries.into_iter().rev() {
            if let Ok(name) = name_in_mirror(run, &entry.path)
                && is_outside(&name)
            {
                found.outside.entry(name).or_default().push(entry.path);
            }
        }
        Ok(found)
    }

    /// The paths that a checkpoint can have, the newest state first: two directories outside of the run's can
    /// each have one of its name.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<PathBuf> {
        match self.outside.get(name) {
            Some(paths) => paths.clone(),
            None => vec![self.checkpoint_dir.join(name)],
        }
    }
}

fn is_outside(name: &str) -> bool {
    Path::new(name).starts_with(OUTSIDE_DIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_that_a_mirror_can_have_or_one_outside_of_the_run() {
        let deep = |depth: usize| vec!["d"; depth].join("/");
        for dirpath in ["last", "a/b", "./a/../b", "../../c:d", "/c:d/e.", "a:/../b", &deep(12)] {
            check_dirpath(Path::new(dirpath)).unwrap();
        }
        for dirpath in ["ckpts:v2", "a.", "a/b ", "a\nb", "a\\b", &deep(13), &"x".repeat(240)] {
            let error = check_dirpath(Path::new(dirpath)).unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{dirpath}: {error:?}");
        }
    }
}
