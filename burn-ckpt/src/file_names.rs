//! The names of single files: a checkpoint, its metadata, its shards, a link, a staging file. Touches no
//! file.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::{Error, Result};

/// Ending of a checkpoint, with the dot.
pub const CHECKPOINT_SUFFIX: &str = ".ckpt";

/// Ending that a metadata file's name adds to its checkpoint's name.
pub const METADATA_SUFFIX: &str = ".metadata.json";

/// Ending of the directory of a checkpoint's shards, with the dot, in place of the checkpoint's ending.
pub const SHARDS_SUFFIX: &str = ".shards";

/// How the name of a shard begins. Numbers follow, as in Hugging Face's names: `state-00001-of-00003.ckpt`.
const SHARD_START: &str = "state-";
/// Ending that the file of a checkpoint's evaluations adds to its checkpoint's name.
pub(crate) const EVALUATION_SUFFIX: &str = ".evaluation.json";

/// Upper limit in bytes of a name chosen by a user or made from a metric. With the suffixes and a staging
/// file's number it stays below the 255 bytes that file systems allow.
pub const MAX_NAME_BYTES: usize = 160;

/// The file that a process locks while it writes to the run.
pub(crate) const LOCK_FILE: &str = "run.lock";

const STAGING_SUFFIX: &str = ".staging";
/// How many hexadecimal digits in a staging file's name say whose it is.
const STAGING_DIGITS: usize = 16;

/// The metadata file that belongs to a checkpoint (or the metadata link beside a link).
#[must_use]
pub fn metadata_path(checkpoint: &Path) -> PathBuf {
    beside(checkpoint, METADATA_SUFFIX)
}

/// The file of a checkpoint's evaluations, if there are any.
#[must_use]
pub fn evaluation_path(checkpoint: &Path) -> PathBuf {
    beside(checkpoint, EVALUATION_SUFFIX)
}

fn beside(checkpoint: &Path, suffix: &str) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The checkpoint that a metadata file is named after.
pub(crate) fn checkpoint_of_metadata(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(METADATA_SUFFIX)?;
    Some(path.with_file_name(name))
}

/// Whether a path has the name of a checkpoint.
#[must_use]
pub fn is_checkpoint(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && name.len() > CHECKPOINT_SUFFIX.len() && name.ends_with(CHECKPOINT_SUFFIX)
    })
}

/// The directory of a checkpoint's shards: `X.shards` beside `X.ckpt`. It is there only for a checkpoint of
/// several files.
#[must_use]
pub fn shards_directory(checkpoint: &Path) -> PathBuf {
    let name = checkpoint.file_name().unwrap_or_default();
    let stem = name.to_str().and_then(|name| name.strip_suffix(CHECKPOINT_SUFFIX));
    let mut name = stem.map_or_else(|| name.to_owned(), OsString::from);
    name.push(SHARDS_SUFFIX);
    checkpoint.with_file_name(name)
}

/// The checkpoint whose shards are in a directory of the name `X.shards`.
pub(crate) fn checkpoint_of_shards(directory: &Path) -> Option<PathBuf> {
    let stem = directory.file_name()?.to_str()?.strip_suffix(SHARDS_SUFFIX)?;
    let is_name = !stem.is_empty() && !stem.starts_with('.');
    is_name.then(|| directory.with_file_name(format!("{stem}{CHECKPOINT_SUFFIX}")))
}

/// Whether a path has the name of the directory of a checkpoint's shards.
#[must_use]
pub fn is_shards_directory(path: &Path) -> bool {
    checkpoint_of_shards(path).is_some()
}

/// The file name of a shard, counted from 1.
pub(crate) fn shard_name(number: usize, count: usize) -> String {
    format!("{SHARD_START}{number:05}-of-{count:05}{CHECKPOINT_SUFFIX}")
}

/// Whether a path has the name of a shard.
pub(crate) fn is_shard(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let numbers = name.and_then(|name| name.strip_prefix(SHARD_START)?.strip_suffix(CHECKPOINT_SUFFIX));
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers
        .and_then(|numbers| numbers.split_once("-of-"))
        .is_some_and(|(number, count)| is_number(number) && is_number(count))
}

/// The file name of the link to a strategy's best or newest checkpoint: `last.ckpt` for the name `last`,
/// `best_val_loss.ckpt` for the name `best_val/loss`.
///
/// # Errors
///
/// [`Error::Name`] as for [`safe_name`].
pub fn link_name(name: &str) -> Result<String> {
    Ok(safe_name("the link's name", name)? + CHECKPOINT_SUFFIX)
}

/// File name without ending of a checkpoint that is saved after an exception, in UTC: `2024-01-15T10-30-00`.
#[must_use]
pub fn exception_stem(when: Timestamp) -> String {
    when.strftime("%Y-%m-%dT%H-%M-%S").to_string()
}

/// Converts a name that a user chose to a file name that stays within its directory.
///
/// Letters, digits and `_ - . = + , @` stay. Every run of other characters becomes one `_`. Dots at the start
/// are removed. A name longer than [`MAX_NAME_BYTES`] is cut and ends in a digest of the whole name, so that
/// two long names stay different.
///
/// # Errors
///
/// [`Error::Name`] when no letter or digit remains, as in `""`, `".."` or `"/"`.
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

/// Whether two names are those of one file on some file system: one that does not tell capital letters from
/// small ones.
#[must_use]
pub fn same_file_name(a: &str, b: &str) -> bool {
    a == b || folded(a) == folded(b)
}

/// A name as a file system sees it that does not tell capital letters from small ones.
pub(crate) fn folded(name: &str) -> String {
    // Small letters alone would keep apart what has one capital letter (σ and ς).
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Whose a staging file is: a run's, which is known by its directory, or no run's. In a directory that
/// several runs share, each run removes its own leftovers alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagingOwner(Option<String>);

impl StagingOwner {
    /// The run in a directory, given as a path without links.
    #[must_use]
    pub fn run_at(real_run_dir: &Path) -> Self {
        let digest = blake3::hash(real_run_dir.as_os_str().as_encoded_bytes()).to_hex();
        Self(Some(digest[..STAGING_DIGITS].to_owned()))
    }

    /// Whether a staging file is this run's.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.0.as_ref().is_some_and(|owner| staged(&name).is_some_and(|staged| staged.owner == owner))
    }
}

/// A new path for a staging file beside `destination`. It is random, as the process ids of two containers can
/// be the same. [`is_staging`] recognises it, so that leftovers of killed processes are removed when the run
/// is opened.
pub(crate) fn staging_path(destination: &Path, owner: &StagingOwner) -> PathBuf {
    // The keys of each `RandomState` are other random numbers: they come from the system.
    let random = RandomState::new().hash_one(std::process::id());
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let owner = owner.0.as_deref().unwrap_or("0");
    destination.with_file_name(format!(".{name}.{owner}-{random:016x}{STAGING_SUFFIX}"))
}

/// Whether a file has the name of a staging file.
pub(crate) fn is_staging(path: &Path) -> bool {
    is_staging_of(path, |_| true)
}

/// Whether a file has the name of a staging file for one of which the name is such.
pub(crate) fn is_staging_of(path: &Path, is_such: impl FnOnce(&str) -> bool) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    staged(&name).is_some_and(|staged| is_such(staged.destination))
}

/// What the name of a staging file says.
struct StagedName<'a> {
    destination: &'a str,
    owner: &'a str,
}

/// The parts of `.DESTINATION.OWNER-RANDOM.staging`. A user's file can begin and end like that: what it does
/// not have is the mark, two hexadecimal numbers.
fn staged(name: &str) -> Option<StagedName<'_>> {
    let (destination, mark) = name.strip_prefix('.')?.strip_suffix(STAGING_SUFFIX)?.rsplit_once('.')?;
    let (owner, random) = mark.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_staged = !destination.is_empty() && is_number(owner) && is_number(random);
    is_staged.then_some(StagedName { destination, owner })
}

/// Whether a path has the name of a staging directory: that of a checkpoint's shards.
#[must_use]
pub fn is_staging_directory(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    is_staging(path) && name.rsplitn(3, '.').nth(2).is_some_and(|start| start.ends_with(SHARDS_SUFFIX))
}

fn shortened(safe: &str, whole: &str) -> String {
    let digest = &blake3::hash(whole.as_bytes()).to_hex()[..16];
    let mut end = MAX_NAME_BYTES - digest.len() - 1;
    while !safe.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{digest}", &safe[..end])
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
    fn names_without_a_letter_or_digit_are_invalid() {
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
    fn names_that_differ_in_capital_letters_are_those_of_one_file() {
        for (a, b) in [("Loss", "loss"), ("ÄÖ", "äö"), ("σ", "ς"), ("a", "a")] {
            assert!(same_file_name(a, b), "{a} {b}");
        }
        assert!(!same_file_name("loss", "loss_2"));
    }

    #[test]
    fn a_run_knows_its_own_staging_files() {
        let (a, b) = (StagingOwner::run_at(Path::new("/r/a")), StagingOwner::run_at(Path::new("/r/b")));
        let place = Path::new("d/epoch=0-step=1.ckpt.metadata.json");
        let (of_a, again, of_no_run) =
            (staging_path(place, &a), staging_path(place, &a), staging_path(place, &StagingOwner::default()));
        assert!(a.owns(&of_a) && !b.owns(&of_a) && !a.owns(&of_no_run) && !a.owns(place));
        assert!(!StagingOwner::default().owns(&of_no_run));
        assert_ne!(of_a, again);
        assert!(is_staging(&of_a) && is_staging(&of_no_run));
    }

    #[test]
    fn staging_files_are_not_checkpoints() {
        let staging = staging_path(Path::new("d/epoch=0-step=1.ckpt"), &StagingOwner::default());
        assert!(is_staging(&staging));
        assert!(!is_checkpoint(&staging));
        assert!(!is_staging(Path::new("d/epoch=0-step=1.ckpt")));
        for of_a_user in
            [".mine.staging", ".mine.ckpt.staging", ".a.0-x.staging", ".0-1.staging", ".a.-1.staging"]
        {
            assert!(!is_staging(Path::new(of_a_user)), "{of_a_user}");
        }
        assert!(is_checkpoint(Path::new("d/epoch=0-step=1.ckpt")));
        assert!(!is_checkpoint(Path::new("d/epoch=0-step=1.ckpt.metadata.json")));
    }

    #[test]
    fn a_checkpoint_and_its_shards_are_found_by_each_other() {
        let checkpoint = Path::new("d/epoch=0-step=1.ckpt");
        let directory = shards_directory(checkpoint);
        assert_eq!(directory, Path::new("d/epoch=0-step=1.shards"));
        assert_eq!(checkpoint_of_shards(&directory).as_deref(), Some(checkpoint));
        assert_eq!(shards_directory(Path::new("d/model")), Path::new("d/model.shards"));
        let staging = staging_path(&directory, &StagingOwner::default());
        assert!(is_staging_directory(&staging) && !is_shards_directory(&staging));
        assert!(!is_staging_directory(&staging_path(checkpoint, &StagingOwner::default())));
        assert!(!is_shards_directory(Path::new("d/.shards")) && !is_shards_directory(checkpoint));
        assert_eq!(shard_name(2, 13), "state-00002-of-00013.ckpt");
        assert!(is_shard(Path::new("d/state-00002-of-00013.ckpt")) && !is_shard(checkpoint));
        assert!(!is_shard(Path::new("state-2-of-3.ckpt")) && !is_shard(Path::new("state-00002-of-00013")));
    }
}
