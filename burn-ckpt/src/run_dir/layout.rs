//! Every file and directory name of a run, built and parsed here only.
//!
//! First step of both flows: saving asks here where a file goes, loading asks here what a file is.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::error::{Error, Result};

/// Directory below the root that holds the runs, unless configured otherwise.
pub const DEFAULT_LOGS: &str = "burn_trainer_logs";
/// Directory of a run that holds its checkpoints.
pub const CHECKPOINT_DIR: &str = "checkpoint";
/// Directory of the checkpoints with the best scores.
pub const BEST_DIR: &str = "best";
/// Directory of the most recent checkpoints.
pub const LAST_DIR: &str = "last";
/// Directory of the checkpoints that were saved because something went wrong.
pub const ON_EXCEPTION_DIR: &str = "on_exception";
/// Ending of a checkpoint, with the dot.
pub const CHECKPOINT_SUFFIX: &str = ".ckpt";
/// What a metadata file's name adds to its checkpoint's name.
pub const METADATA_SUFFIX: &str = ".metadata.json";
/// The most bytes that a name chosen by a user or made from a metric may have. With the suffixes and a
/// staging file's number it stays below the 255 bytes that file systems allow.
pub const MAX_NAME_BYTES: usize = 160;

const LOCK_FILE: &str = "run.lock";
const STAGING_SUFFIX: &str = ".staging";

/// Where one run keeps its files: `{root}/{logs}/{run_id}`.
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
    /// [`Error::Name`] when `logs` or `run_id` is not a single directory name: empty, `.` or `..`, with a
    /// separator or a control character in it, or longer than [`MAX_NAME_BYTES`].
    pub fn new(root: &Path, logs: &str, run_id: &str) -> Result<Self> {
        check_component("the logs directory", logs)?;
        check_component("the run id", run_id)?;
        Ok(Self { run_dir: root.join(logs).join(run_id), run_id: run_id.to_owned() })
    }

    /// The layout of a run whose directory is known, for readers.
    #[must_use]
    pub fn at(run_dir: impl Into<PathBuf>) -> Self {
        let run_dir = run_dir.into();
        let run_id = run_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { run_dir, run_id }
    }

    /// The run's id, which is its directory's name.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The directory of everything that belongs to the run.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The directory of the run's checkpoints and links.
    #[must_use]
    pub fn checkpoint_dir(&self) -> PathBuf {
        self.run_dir.join(CHECKPOINT_DIR)
    }

    /// The directory that `dirpath` (relative to the `checkpoint` directory, or absolute) stands for, in the one
    /// spelling that is used for it everywhere, so that equal paths are equal files. Creates nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] when it is the `checkpoint` directory itself, where the links are, or a file.
    pub fn strategy_dir(&self, dirpath: &Path) -> Result<PathBuf> {
        let checkpoint_dir = self.checkpoint_dir();
        let (own, wanted) = (resolved(&checkpoint_dir)?, resolved(&checkpoint_dir.join(dirpath))?);
        let refuse = |reason: &str| {
            Err(name_error(
                "the dirpath",
                &dirpath.to_string_lossy(),
                format!("{} {reason}", wanted.display()),
            ))
        };
        if wanted == own {
            return refuse("is where the links are; name a directory in it");
        }
        if wanted.exists() && !wanted.is_dir() {
            return refuse("is not a directory");
        }
        Ok(match wanted.strip_prefix(&own) {
            Ok(below) => checkpoint_dir.join(below),
            Err(_) => wanted,
        })
    }

    /// The file whose lock says that a process is writing to the run.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.run_dir.join(LOCK_FILE)
    }
}

/// The metadata file that belongs to a checkpoint (or the metadata link beside a link).
#[must_use]
pub fn metadata_path(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(METADATA_SUFFIX);
    PathBuf::from(name)
}

/// Whether a path is named like a checkpoint.
#[must_use]
pub fn is_checkpoint(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && name.len() > CHECKPOINT_SUFFIX.len() && name.ends_with(CHECKPOINT_SUFFIX)
    })
}

/// The link that names a strategy's foremost checkpoint: `last.ckpt` for the name `last`,
/// `best_val_loss.ckpt` for the name `best_val/loss`.
///
/// # Errors
///
/// [`Error::Name`] as for [`safe_name`].
pub fn link_name(name: &str) -> Result<String> {
    Ok(safe_name("the link's name", name)? + CHECKPOINT_SUFFIX)
}

/// File name without ending for a checkpoint that an exception left, in UTC: `2024-01-15T10-30-00`.
#[must_use]
pub fn exception_stem(when: Timestamp) -> String {
    when.strftime("%Y-%m-%dT%H-%M-%S").to_string()
}

/// Makes a file name out of a name that somebody chose, without ever leaving the directory it is put in.
///
/// Letters, digits and `_ - . = + , @` stay, every run of other characters becomes one `_`, dots at the start go.
/// A name longer than [`MAX_NAME_BYTES`] is cut and ends in a digest of the whole, so that two long names do
/// not fall together.
///
/// # Errors
///
/// [`Error::Name`] when nothing that can be told apart is left, as of `""`, `".."` or `"/"`.
pub fn safe_name(what: &'static str, name: &str) -> Result<String> {
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_alphanumeric() || "_-.=+,@".contains(c) {
            safe.push(c);
        } else if !safe.ends_with('_') {
            safe.push('_');
        }
    }
    let safe = safe.trim_start_matches('.').to_owned();
    if !safe.contains(char::is_alphanumeric) {
        return Err(name_error(what, name, "it has no letter or digit".to_owned()));
    }
    Ok(if safe.len() <= MAX_NAME_BYTES { safe } else { shortened(&safe, name) })
}

/// A staging file beside `destination`, which [`is_staging`] recognises. The process id and a counter keep
/// two writers apart; a leftover of a killed process is told by its name and removed when the run is opened.
pub(crate) fn staging_path(destination: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    destination.with_file_name(format!(".{name}.{}-{number}{STAGING_SUFFIX}", std::process::id()))
}

/// Whether a file is an unfinished write of ours.
pub(crate) fn is_staging(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.starts_with('.') && name.ends_with(STAGING_SUFFIX)
    })
}

/// An absolute path without links and `..`, also where its last parts do not exist yet.
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
                if let Ok(real) = fs::canonicalize(&resolved) {
                    resolved = real;
                }
            }
        }
    }
    Ok(resolved)
}

fn shortened(safe: &str, whole: &str) -> String {
    let digest = &blake3::hash(whole.as_bytes()).to_hex()[..16];
    let mut end = MAX_NAME_BYTES - digest.len() - 1;
    while !safe.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{digest}", &safe[..end])
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

pub(crate) fn name_error(what: &'static str, name: &str, reason: String) -> Error {
    const SHOWN: usize = 60;
    let name = if name.chars().count() <= SHOWN {
        name.to_owned()
    } else {
        name.chars().take(SHOWN).chain("..".chars()).collect()
    };
    Error::Name { what, name, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_with_a_separator_becomes_a_plain_link_name() {
        assert_eq!(link_name("best_val/loss").unwrap(), "best_val_loss.ckpt");
        assert_eq!(link_name("best_a\nb\0c").unwrap(), "best_a_b_c.ckpt");
    }

    #[test]
    fn names_without_a_letter_are_refused() {
        for name in ["", ".", "..", "/", "../..", "\n", "___"] {
            assert!(matches!(safe_name("the name", name), Err(Error::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn no_name_leaves_its_directory() {
        for name in ["../../etc/passwd", "/etc/passwd", "..a", "a/../../b", "c:\\d", "ä/ö"] {
            let safe = safe_name("the name", name).unwrap();
            assert_eq!(Path::new(&safe).components().count(), 1, "{safe}");
            assert!(!safe.starts_with('.'), "{safe}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let (a, b) = ("x".repeat(300) + "a", "x".repeat(300) + "b");
        let (a, b) = (safe_name("the name", &a).unwrap(), safe_name("the name", &b).unwrap());
        assert_ne!(a, b);
        assert!(a.len() <= MAX_NAME_BYTES);
        let umlauts = safe_name("the name", &"ü".repeat(200)).unwrap();
        assert!(umlauts.len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn a_run_id_is_one_directory_name() {
        for id in ["", ".", "..", "a/b", "a\\b", "a\0b", &"x".repeat(300)] {
            assert!(RunLayout::new(Path::new("."), "logs", id).is_err(), "{id:?}");
            assert!(RunLayout::new(Path::new("."), id, "run").is_err(), "{id:?}");
        }
        let layout = RunLayout::new(Path::new("r"), "logs", "Lauf 1 – größer").unwrap();
        assert_eq!(layout.run_dir(), Path::new("r/logs/Lauf 1 – größer"));
    }

    #[test]
    fn staging_files_are_recognised_and_are_no_checkpoints() {
        let staging = staging_path(Path::new("d/epoch=0-step=1.ckpt"));
        assert!(is_staging(&staging));
        assert!(!is_checkpoint(&staging));
        assert!(!is_staging(Path::new("d/epoch=0-step=1.ckpt")));
        assert!(is_checkpoint(Path::new("d/epoch=0-step=1.ckpt")));
        assert!(!is_checkpoint(Path::new("d/epoch=0-step=1.ckpt.metadata.json")));
    }
}
