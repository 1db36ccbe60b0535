//! The names of a run's objects below the mirror's address. Those of files are the same as on disk.
//!
//! | object | is |
//! |---|---|
//! | `{run}/checkpoint/last/X.ckpt`, `X.shards/..`, `X.ckpt.metadata.json` | content, which no reader believes alone |
//! | `{run}/checkpoint/last/X.ckpt.commit.json` | the commit object: the checkpoint is there, and these are its files |
//! | `{run}/checkpoint/last/X.ckpt.evaluation.json` | the evaluations of a checkpoint, which are replaced |
//! | `{run}/checkpoint/last.ckpt` | a link: the name of a checkpoint |
//! | `{run}/checkpoint/forks/{term}/last/X.ckpt.commit.json` | the second commit object of a state of another history |
//! | `{run}/metrics/..` | a piece of the log of metrics |
//! | `{run}/lease.json` | who writes |

use crate::error::{Error, Result};
use crate::file_names::{CHECKPOINT_SUFFIX, EVALUATION_SUFFIX, MAX_NAME_BYTES};
use crate::run_dir::layout::CHECKPOINT_DIR;

pub(crate) const COMMIT_SUFFIX: &str = ".commit.json";
pub(crate) const LEASE_NAME: &str = "lease.json";
pub(crate) const METRICS_DIR: &str = "metrics";
/// What states of another history than the disk's are below.
pub(crate) const FORKS_DIR: &str = "forks";
/// What the name of content has at its end if the name alone could be another writer's.
const UPLOAD_MARK: &str = ".upload-";
/// The most directories in the name of a checkpoint.
const MAX_DEPTH: usize = 16;
/// The most bytes of a part: a checkpoint's name, and what the names of its files add.
const MAX_PART_BYTES: usize = MAX_NAME_BYTES + 64;

/// The commit object of a checkpoint, which is named relative to the run's `checkpoint` directory.
pub(crate) fn commit(run_id: &str, checkpoint: &str) -> String {
    format!("{run_id}/{CHECKPOINT_DIR}/{checkpoint}{COMMIT_SUFFIX}")
}

/// The object that says who writes.
pub(crate) fn lease(run_id: &str) -> String {
    format!("{run_id}/{LEASE_NAME}")
}

/// The evaluations of a checkpoint.
pub(crate) fn evaluations(run_id: &str, checkpoint: &str) -> String {
    format!("{run_id}/{CHECKPOINT_DIR}/{checkpoint}{EVALUATION_SUFFIX}")
}

/// The checkpoint that a commit object is named after.
pub(crate) fn checkpoint_of_commit<'a>(run_id: &str, key: &'a str) -> Option<&'a str> {
    let name = below_checkpoints(run_id, key)?.strip_suffix(COMMIT_SUFFIX)?;
    name.ends_with(CHECKPOINT_SUFFIX).then_some(name)
}

/// The second name of a checkpoint, or of a file of it, that was written under a term and is of another
/// history than the disk's. A term's writer has one state under a name at its end.
pub(crate) fn fork_name(term: u64, name: &str) -> String {
    format!("{FORKS_DIR}/{term}/{name}")
}

/// The object of a link: `last.ckpt`.
pub(crate) fn link(run_id: &str, name: &str) -> String {
    format!("{run_id}/{CHECKPOINT_DIR}/{name}")
}

/// The link that an object is: it is in the `checkpoint` directory itself, where no checkpoint is.
pub(crate) fn link_of_key<'a>(run_id: &str, key: &'a str) -> Option<&'a str> {
    let name = below_checkpoints(run_id, key)?;
    (!name.contains('/') && name.ends_with(CHECKPOINT_SUFFIX)).then_some(name)
}

/// An object of content, of a file that is named relative to the run's `checkpoint` directory. A lease's
/// first holder uses the file's name. Each later one has names of its own: an earlier writer can still be on
/// its way.
pub(crate) fn content(file: &str, term: u64, attempt: u64) -> String {
    match (term, attempt) {
        (1, 0) => file.to_owned(),
        (term, 0) => format!("{file}{UPLOAD_MARK}{term}"),
        (term, attempt) => format!("{file}{UPLOAD_MARK}{term}-{attempt}"),
    }
}

/// The term in the name of an object of content.
pub(crate) fn term_of_content(key: &str) -> u64 {
    let mark = key.rsplit_once(UPLOAD_MARK).map(|(_, mark)| mark.split('-').next().unwrap_or_default());
    mark.and_then(|term| term.parse().ok()).unwrap_or(1)
}

/// The name of an object, relative to the run's `checkpoint` directory.
pub(crate) fn below_checkpoints<'a>(run_id: &str, key: &'a str) -> Option<&'a str> {
    key.strip_prefix(run_id)?.strip_prefix('/')?.strip_prefix(CHECKPOINT_DIR)?.strip_prefix('/')
}

/// Checks a name that an object says: it stays below its directory, on each system.
pub(crate) fn check_relative(what: &'static str, name: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= MAX_PART_BYTES
            && !part.ends_with(['.', ' '])
    };
    let has_bad = |c: char| c.is_control() || c == '\\' || c == ':';
    if name.split('/').count() <= MAX_DEPTH && name.split('/').all(is_part) && !name.contains(has_bad) {
        return Ok(());
    }
    let reason = format!(
        "a mirror has names of at most {MAX_DEPTH} parts between /, and none that is empty, . or .., ends in . or a \
         space, is longer than {MAX_PART_BYTES} bytes, or has a : or \\ or a control character"
    );
    Err(Error::Name { what, name: name.chars().take(80).collect(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leases_first_holder_uses_the_names_of_the_files() {
        assert_eq!(content("last/a.ckpt", 1, 0), "last/a.ckpt");
        assert_eq!(content("last/a.ckpt", 3, 0), "last/a.ckpt.upload-3");
        assert_eq!(content("last/a.ckpt", 1, 2), "last/a.ckpt.upload-1-2");
        for (term, attempt) in [(1, 0), (3, 0), (1, 2), (7, 1)] {
            assert_eq!(term_of_content(&content("last/a.ckpt", term, attempt)), term);
        }
    }

    #[test]
    fn links_and_commit_objects_are_known_by_their_names() {
        let key = commit("r1", "last/a.ckpt");
        assert_eq!(checkpoint_of_commit("r1", &key), Some("last/a.ckpt"));
        assert_eq!(checkpoint_of_commit("r", &key), None);
        assert_eq!(link_of_key("r1", &link("r1", "last.ckpt")), Some("last.ckpt"));
        assert_eq!(link_of_key("r1", "r1/checkpoint/last/a.ckpt"), None);
    }

    #[test]
    fn a_name_that_leaves_its_directory_is_invalid() {
        for name in
            ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/.", "c:\\d", "a\nb", "a/b ", &"x".repeat(400)]
        {
            assert!(matches!(check_relative("the file", name), Err(Error::Name { .. })), "{name:?}");
        }
        check_relative("the file", "last/epoch=9-step=500.shards/state-00001-of-00003.ckpt").unwrap();
    }
}
