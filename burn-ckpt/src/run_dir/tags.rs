//! Tags and notes that a run was given after it was trained: `tags.json` in the run's directory. Those that
//! it was started with are in the trainer's configuration, in each checkpoint, and stay there: a checkpoint
//! is not written again for a tag.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ErrorKind;
use crate::disk::directories::{entry, remove_if_there, sync_directory};
use crate::disk::run_lock::{LockMode, RunLock};
use crate::disk::staged_file::{Existing, write_whole};
use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::format::container::json_file::read_json_file;

/// The file's name.
pub const TAGS_FILE: &str = "tags.json";
/// The name of the file that a process has locked while it changes the tags.
pub const TAGS_LOCK_FILE: &str = ".tags.json.lock";
/// How long a process waits for others that change the tags, each for some milliseconds.
const LOCK_FOR: Duration = Duration::from_secs(30);
/// Upper limits: of the file, of a tag, and of the notes, in bytes, and of the number of tags.
const MAX_BYTES: u64 = 1024 * 1024;
const MAX_TAG_BYTES: usize = 256;
const MAX_NOTES_BYTES: usize = 64 * 1024;
const MAX_TAGS: usize = 1000;
/// Values of JSON in the file: two lists of tags, the notes, and the keys.
const MAX_VALUES: usize = 2 * MAX_TAGS + 16;

/// What was changed of a run's tags and notes since it was trained.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaterTags {
    /// Tags that were added, in their order.
    pub added: Vec<String>,
    /// Tags of the configuration that no longer count.
    pub removed: Vec<String>,
    /// Notes in place of those of the configuration. Empty for none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub notes: Option<String>,
}

impl LaterTags {
    /// Those of a run. Without a file there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] when the file is too large, invalid, or not a regular file; [`Error::Io`] when it
    /// cannot be read.
    pub fn read(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(TAGS_FILE);
        let other_form = "it does not have tags and notes: correct it, or remove it";
        let tags: Self = read_json_file(&path, (MAX_BYTES, MAX_VALUES), other_form)?.unwrap_or_default();
        match tags.check() {
            Err(Error::Name { what, name, reason }) => {
                let reason = format!("{what} {name:?} is invalid: {reason}; correct it, or remove the file");
                Err(Error::metadata(&path, reason, None))
            }
            checked => checked.map(|()| tags),
        }
    }

    /// Whether a run has a file of them. One that has something else in it is not the run's.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot be read.
    pub fn are_there(run_dir: &Path) -> Result<bool> {
        if entry(&run_dir.join(TAGS_FILE))?.is_none_or(|entry| !entry.is_file()) {
            return Ok(false);
        }
        match Self::read(run_dir) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The right to change them, which one process has at a time: otherwise the second of two that read, add
    /// a tag and write would undo the first. It does not need the run's lock, which the process that trains
    /// holds.
    ///
    /// # Errors
    ///
    /// As for [`RunLock::acquire`], when others have it for half a minute.
    pub fn lock(run_dir: &Path) -> Result<RunLock> {
        let deadline = Instant::now() + LOCK_FOR;
        loop {
            match RunLock::acquire_file(run_dir, TAGS_LOCK_FILE, LockMode::IfPossible) {
                Err(Error::Locked { .. }) if Instant::now() < deadline => {}
                // A file that a killed process has left says nothing of the run.
                outcome => return outcome.map(RunLock::with_file_removed),
            }
        }
    }

    /// Writes them for a run, durably. Without any, the file is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for a tag or notes that are too long, empty or not printable; [`Error::Io`] when the
    /// file cannot be written.
    pub fn write(&self, run_dir: &Path) -> Result<()> {
        self.check()?;
        let path = run_dir.join(TAGS_FILE);
        if *self == Self::default() {
            remove_if_there(&path)?;
            return sync_directory(run_dir);
        }
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::snapshot("the tags cannot be written as JSON", error))?;
        let write = || {
            write_whole(&path, Existing::Replace, |file| {
                file.write_all(format!("{text}\n").as_bytes()).map_err(Error::io("write", &path))
            })
        };
        // A start of the run that comes at this moment takes what is unfinished for what a kill has left.
        write().or_else(|error: Error| match error.kind() {
            ErrorKind::NotFound => write(),
            _ => Err(error),
        })
    }

    /// The tags of a run that was started with these.
    #[must_use]
    pub fn all<'a>(&'a self, configured: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut all: Vec<&str> = Vec::new();
        let kept = configured.into_iter().filter(|tag| !self.removed.iter().any(|removed| removed == tag));
        for tag in kept.chain(self.added.iter().map(String::as_str)) {
            if !all.contains(&tag) {
                all.push(tag);
            }
        }
        all
    }

    /// Adds a tag to a run that was started with `configured`. `KEY=VALUE` takes the place of an earlier
    /// value of that key.
    pub fn add(&mut self, tag: &str, configured: &[&str]) {
        if let Some((key, _)) = tag.split_once('=') {
            let is_earlier =
                |other: &str| other != tag && other.split_once('=').is_some_and(|(other, _)| other == key);
            let earlier: Vec<String> = self
                .all(configured.iter().copied())
                .into_iter()
                .filter(|other| is_earlier(other))
                .map(str::to_owned)
                .collect();
            earlier.iter().for_each(|earlier| self.remove(earlier, configured));
        }
        self.removed.retain(|removed| removed != tag);
        if !configured.contains(&tag) && !self.added.iter().any(|added| added == tag) {
            self.added.push(tag.to_owned());
        }
    }

    /// Removes a tag from a run that was started with `configured`.
    pub fn remove(&mut self, tag: &str, configured: &[&str]) {
        self.added.retain(|added| added != tag);
        if configured.contains(&tag) && !self.removed.iter().any(|removed| removed == tag) {
            self.removed.push(tag.to_owned());
        }
    }

    fn check(&self) -> Result<()> {
        // A tag of an earlier version can lack its key.
        self.added.iter().chain(&self.removed).try_for_each(|tag| check_label("the tag", tag))?;
        check_notes(self.notes.as_deref().unwrap_or_default())?;
        check_number_of_tags(self.added.len().max(self.removed.len()))
    }
}

/// Checks a tag that a run is given, when it is started or later.
///
/// # Errors
///
/// [`Error::Name`] for one that is empty, too long or not printable, or is `KEY=VALUE` without its key.
pub fn check_tag(tag: &str) -> Result<()> {
    check_label("the tag", tag)?;
    match tag.trim_start().starts_with('=') {
        true => Err(name_error("the tag", tag, "it has no key: write any text, or KEY=VALUE".to_owned())),
        false => Ok(()),
    }
}

/// Checks a short text by which people know a run. `what` is what it is for.
///
/// # Errors
///
/// [`Error::Name`] for one that is empty, too long or not printable.
pub fn check_label(what: &'static str, text: &str) -> Result<()> {
    let reason = match text {
        text if text.trim().is_empty() => "it is empty".to_owned(),
        text if text.chars().any(char::is_control) => "it has a control character".to_owned(),
        text if text.len() > MAX_TAG_BYTES => {
            format!("it has {} bytes, and {MAX_TAG_BYTES} are allowed", text.len())
        }
        _ => return Ok(()),
    };
    Err(name_error(what, text, reason))
}

/// Checks the length of a run's notes.
///
/// # Errors
///
/// [`Error::Name`] for more than 64 KiB.
pub fn check_notes(notes: &str) -> Result<()> {
    if notes.len() <= MAX_NOTES_BYTES {
        return Ok(());
    }
    let reason = format!("they have {} bytes, and {MAX_NOTES_BYTES} are allowed", notes.len());
    Err(name_error("the text of the notes", notes, reason))
}

/// Checks how many tags a run has.
///
/// # Errors
///
/// [`Error::Name`] for more than 1000.
pub fn check_number_of_tags(count: usize) -> Result<()> {
    if count <= MAX_TAGS {
        return Ok(());
    }
    let reason = format!("it has {count} tags, and {MAX_TAGS} are allowed");
    Err(name_error("the list of tags", "", reason))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};

    /// A start of the run that removes unfinished files when one is about to get its name.
    #[derive(Default)]
    struct StartsMeanwhile(AtomicBool);

    impl Observer for StartsMeanwhile {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            if let Operation::Rename { from, .. } = operation
                && !self.0.swap(true, Ordering::Relaxed)
            {
                fs::remove_file(from).unwrap();
            }
            Verdict::Proceed
        }
    }

    #[test]
    fn a_start_of_the_run_that_removes_unfinished_files_loses_no_tags() {
        let run = tempfile::tempdir().unwrap();
        let tags = LaterTags { added: vec!["a".to_owned()], ..LaterTags::default() };
        let observer = Arc::new(StartsMeanwhile::default());
        let _observation = observe(run.path(), observer.clone());
        tags.write(run.path()).unwrap();
        assert!(observer.0.load(Ordering::Relaxed));
        assert_eq!(LaterTags::read(run.path()).unwrap(), tags);
    }

    #[test]
    fn tags_are_those_of_the_configuration_with_what_was_changed_since() {
        let configured = ["baseline", "owner=ann"];
        let mut tags = LaterTags::default();
        tags.add("lr-sweep", &configured);
        tags.add("baseline", &configured);
        assert_eq!(tags.all(configured), ["baseline", "owner=ann", "lr-sweep"]);
        tags.add("owner=bob", &configured);
        tags.remove("baseline", &configured);
        assert_eq!(tags.all(configured), ["lr-sweep", "owner=bob"]);
        tags.add("owner=ann", &configured);
        tags.add("baseline", &configured);
        assert_eq!(tags.all(configured), ["baseline", "owner=ann", "lr-sweep"]);
        tags.remove("lr-sweep", &configured);
        assert_eq!(tags, LaterTags::default());
    }

    #[test]
    fn tags_are_read_as_they_were_written_and_none_leave_no_file() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(LaterTags::read(run.path()).unwrap(), LaterTags::default());
        let tags = LaterTags {
            added: vec!["a".to_owned()],
            removed: Vec::new(),
            notes: Some("größer\nals".to_owned()),
        };
        tags.write(run.path()).unwrap();
        assert_eq!(LaterTags::read(run.path()).unwrap(), tags);
        assert!(LaterTags::are_there(run.path()).unwrap());
        LaterTags::default().write(run.path()).unwrap();
        assert!(!run.path().join(TAGS_FILE).exists());
        // A file of a user's own that happens to have such keys is not the run's.
        fs::write(run.path().join(TAGS_FILE), r#"{"added":[],"removed":[]}"#).unwrap();
        assert!(!LaterTags::are_there(run.path()).unwrap());
    }

    #[test]
    fn what_exceeds_a_limit_is_an_error_for_reading_and_for_writing() {
        let run = tempfile::tempdir().unwrap();
        let with = |added: Vec<String>| LaterTags { added, ..LaterTags::default() };
        let notes = LaterTags { notes: Some("x".repeat(MAX_NOTES_BYTES + 1)), ..LaterTags::default() };
        let many = (0..=MAX_TAGS).map(|number| number.to_string()).collect();
        let wrong = [
            with(vec![" ".to_owned()]),
            with(vec!["a\nb".to_owned()]),
            with(vec!["x".repeat(MAX_TAG_BYTES + 1)]),
            with(many),
            notes,
        ];
        for tags in wrong {
            assert_eq!(tags.write(run.path()).unwrap_err().kind(), ErrorKind::InvalidName, "{tags:?}");
            fs::write(run.path().join(TAGS_FILE), serde_json::to_string(&tags).unwrap()).unwrap();
            assert_eq!(LaterTags::read(run.path()).unwrap_err().kind(), ErrorKind::Damaged, "{tags:?}");
        }
        let long = " ".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        let values = serde_json::json!({ "other": vec![0; MAX_VALUES] }).to_string();
        for text in ["", "3", "{}", r#"{"my": "tags"}"#, r#"{"added": [1]}"#, &long, &values] {
            fs::write(run.path().join(TAGS_FILE), text).unwrap();
            assert!(!LaterTags::are_there(run.path()).unwrap(), "{text:.40}");
            assert_eq!(LaterTags::read(run.path()).unwrap_err().kind(), ErrorKind::Damaged, "{text:.40}");
        }
        fs::remove_file(run.path().join(TAGS_FILE)).unwrap();
        fs::create_dir(run.path().join(TAGS_FILE)).unwrap();
        assert_eq!(LaterTags::read(run.path()).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
