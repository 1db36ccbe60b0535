//! Where a run keeps its files. Every directory of a run is built and parsed here only, for saving and for
//! loading.

use std::path::{Component, Path, PathBuf};

use crate::disk::directories::{is_symlink, real_path, real_path_if_there, stat};
use crate::error::{Error, Result};
use crate::file_names::{MAX_NAME_BYTES, SHARDS_SUFFIX, StagingOwner, is_shards_directory, name_error};

/// Directory below the root that contains the runs, unless configured otherwise.
pub const DEFAULT_LOGS: &str = "burn_trainer_logs";
/// Directory of a run that contains its checkpoints.
pub const CHECKPOINT_DIR: &str = "checkpoint";
/// Directory of the checkpoints with the best scores.
pub const BEST_DIR: &str = "best";
/// Directory of the most recent checkpoints.
pub const LAST_DIR: &str = "last";
/// Directory of the checkpoints that were saved because something went wrong.
pub const ON_EXCEPTION_DIR: &str = "on_exception";

/// Where one run keeps its files: `{root}/{logs}/{run_id}`.
///
/// ```
/// use std::path::Path;
///
/// use burn_ckpt::RunLayout;
///
/// let run = RunLayout::new(".", "burn_trainer_logs", "first")?;
/// assert_eq!(run.checkpoint_dir(), Path::new("./burn_trainer_logs/first/checkpoint"));
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLayout {
    run_dir: PathBuf,
    run_id: String,
}

impl RunLayout {
    /// The layout of a run. Touches no file.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when `logs` or `run_id` is not a single directory name: it is empty, `.` or `..`,
    /// contains a separator or a control character, or has more than 160 bytes.
    pub fn new(root: impl AsRef<Path>, logs: &str, run_id: &str) -> Result<Self> {
        check_component("the logs directory", logs)?;
        check_run_id(run_id)?;
        Ok(Self { run_dir: root.as_ref().join(logs).join(run_id), run_id: run_id.to_owned() })
    }

    /// The layout of a run whose directory is known, for readers.
    #[must_use]
    pub fn at(run_dir: impl Into<PathBuf>) -> Self {
        let run_dir = run_dir.into();
        let id_of = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        // `.` and `..` have no name. Without a real path there is no run either.
        let real_id = || id_of(&real_path(&run_dir).ok()?);
        let run_id = id_of(&run_dir).or_else(real_id).unwrap_or_default();
        Self { run_dir, run_id }
    }

    /// The run's id, which is its directory's name.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The owner of the run's staging files. The directory must exist.
    #[doc(hidden)]
    pub fn staging_owner(&self) -> Result<StagingOwner> {
        Ok(StagingOwner::run_at(&real_path(&self.run_dir)?))
    }

    /// The directory of the run's checkpoints and links.
    #[must_use]
    pub fn checkpoint_dir(&self) -> PathBuf {
        self.run_dir.join(CHECKPOINT_DIR)
    }

    /// Resolves a strategy's `dirpath` (absolute, or relative to the `checkpoint` directory). Two spellings
    /// of a directory give the same path. Creates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when it is the `checkpoint` directory itself, where the links are, a file, below a
    /// link that leads nowhere, or named as a directory of shards is.
    pub fn strategy_dir(&self, dirpath: impl AsRef<Path>) -> Result<PathBuf> {
        let dirpath = dirpath.as_ref();
        let checkpoint_dir = self.checkpoint_dir();
        let (own, wanted) = (resolved(&checkpoint_dir)?, resolved(&checkpoint_dir.join(dirpath))?);
        let invalid = |reason: &str| {
            Err(name_error(
                "the dirpath",
                &dirpath.to_string_lossy(),
                format!("{} {reason}", wanted.display()),
            ))
        };
        if wanted == own {
            return invalid("is where the links are; name a directory in it");
        }
        if wanted.ancestors().take_while(|path| **path != *own).any(is_shards_directory) {
            return invalid(&format!(
                "has the name of a directory of shards: choose one that does not end in {SHARDS_SUFFIX}"
            ));
        }
        if stat(&wanted)?.is_some_and(|stat| !stat.is_dir()) {
            return invalid("is not a directory");
        }
        // Those that lead somewhere are resolved.
        for part in wanted.ancestors() {
            if is_symlink(part)? {
                let part = part.display();
                return invalid(&format!(
                    "needs the link {part}, which leads nowhere: mount what it leads to, or remove it"
                ));
            }
        }
        Ok(match wanted.strip_prefix(&own) {
            Ok(below) => checkpoint_dir.join(below),
            Err(_) => wanted,
        })
    }
}

/// An absolute path without links and `..`. The last parts of the path may not exist yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(Error::io("resolve", path))?;
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => {
                resolved.push(part);
                if let Some(real) = real_path_if_there(&resolved)? {
                    resolved = real;
                }
            }
        }
    }
    Ok(resolved)
}

/// Fails for what cannot be the id of a run.
///
/// # Errors
///
/// As for [`RunLayout::new`].
pub(crate) fn check_run_id(run_id: &str) -> Result<()> {
    check_component("the run id", run_id)
}

fn check_component(what: &'static str, name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name == "." || name == ".." {
        "it would leave its directory".to_owned()
    } else if name.contains(['/', '\\']) {
        "it must be one directory name, without separators".to_owned()
    } else if name.chars().any(char::is_control) {
        "it has a control character".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("it has {} bytes, and {MAX_NAME_BYTES} are allowed", name.len())
    } else {
        return Ok(());
    };
    Err(name_error(what, name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_one_directory_name() {
        for id in ["", ".", "..", "a/b", "a\\b", "a\0b", &"x".repeat(300)] {
            assert!(RunLayout::new(".", "logs", id).is_err(), "{id:?}");
            assert!(RunLayout::new(".", id, "run").is_err(), "{id:?}");
        }
        let layout = RunLayout::new("r", "logs", "Lauf 1 – größer").unwrap();
        assert_eq!(layout.run_dir(), Path::new("r/logs/Lauf 1 – größer"));
    }

    #[test]
    fn the_id_of_a_path_that_ends_with_dots_is_the_directorys_name() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("r1");
        std::fs::create_dir_all(run.join("checkpoint")).unwrap();
        let layout = RunLayout::at(run.join("checkpoint/.."));
        assert_eq!((layout.run_id(), layout.run_dir()), ("r1", run.join("checkpoint/..").as_path()));
        assert_eq!(RunLayout::at(run.join("missing/..")).run_id(), "");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_saved_behind_a_link_that_leads_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let layout = RunLayout::at(root.path().join("r1"));
        std::fs::create_dir_all(layout.checkpoint_dir()).unwrap();
        let disk = root.path().join("disk");
        std::os::unix::fs::symlink(&disk, layout.checkpoint_dir().join("last")).unwrap();
        for dirpath in ["last", "last/deeper"] {
            let error = layout.strategy_dir(dirpath).unwrap_err().to_string();
            assert!(error.contains("checkpoint/last, which leads nowhere"), "{error}");
        }
        std::fs::create_dir(&disk).unwrap();
        let real = real_path(&disk).unwrap();
        assert_eq!(layout.strategy_dir("last/deeper").unwrap(), real.join("deeper"));
    }
}
