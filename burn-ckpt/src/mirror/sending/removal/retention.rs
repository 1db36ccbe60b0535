//! How the checkpoints are deleted that do not stay in a mirror: the commit object first, so that no reader
//! believes what is being deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::object_names::{commit, evaluations, link};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::sending::removal::mirror_keep::MirrorKeep;
use crate::mirror::sending::run_mirror::{OwnObject, RunMirror};

impl MirroredRun {
    /// The names of the checkpoints that the rules do not keep, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`](crate::Error::Mirror) when the links cannot be read.
    pub fn would_remove(&self, keep: &MirrorKeep) -> Result<Vec<String>> {
        let linked =
            self.links().into_iter().map(|link| self.link_target(link)).collect::<Result<Vec<_>>>()?;
        let linked: Vec<&str> = linked.iter().flatten().map(String::as_str).collect();
        Ok(keep.others(self.checkpoints(), &linked))
    }
}

/// What was deleted from a mirror.
///
/// ```no_run
/// use burn_ckpt::mirror::{MirrorKeep, RunMirror, Store, Writer};
///
/// let store = Store::connect(&"s3://bucket/prefix".parse()?)?;
/// let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process())?;
/// let removed = mirror.apply_retention(&MirrorKeep::last(3))?;
/// println!("{} bytes are free", removed.bytes);
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// The checkpoints.
    pub checkpoints: Vec<String>,
    /// The objects, commit objects included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl RunMirror {
    /// The names of the checkpoints that the rules do not keep, oldest first.
    #[must_use]
    pub fn would_remove(&self, keep: &MirrorKeep) -> Vec<String> {
        let linked: Vec<&str> = self.links.values().map(String::as_str).collect();
        keep.others(&self.checkpoints, &linked)
    }

    /// Deletes the checkpoints that the rules do not keep: of each the commit object, then its content that
    /// no other checkpoint has, and its evaluations. What an earlier call could not delete comes first.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`](crate::Error::MirrorInUse); [`Error::Mirror`](crate::Error::Mirror). What was
    /// not deleted then is deleted by a later call.
    pub fn apply_retention(&mut self, keep: &MirrorKeep) -> Result<Removed> {
        let mut removed = Removed::default();
        self.apply_retention_counted(keep, &mut removed)?;
        Ok(removed)
    }

    /// The same for a caller that says what was deleted before an error.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::apply_retention`].
    #[doc(hidden)]
    pub fn apply_retention_counted(&mut self, keep: &MirrorKeep, removed: &mut Removed) -> Result<()> {
        self.finish_removals(removed)?;
        for name in self.would_remove(keep) {
            if let Some(place) = self.checkpoints.iter().position(|there| there.name == name) {
                // From now on it is not counted on: the answer to a deletion can be lost.
                self.being_removed.push(self.checkpoints.remove(place));
                self.finish_removals(removed)?;
            }
        }
        Ok(())
    }

    /// Deletes what is left of the checkpoints whose removal has begun.
    fn finish_removals(&mut self, removed: &mut Removed) -> Result<()> {
        for gone in self.being_removed.clone() {
            let is_sent_again = self.checkpoints.iter().any(|there| there.name == gone.name);
            let key = commit(&self.run_id, &gone.name);
            if !is_sent_again && self.objects.contains_key(&key) {
                // A writer that was stopped for longer than its lease finds out here, and deletes nothing
                // that its successor counts on.
                self.lease.renew()?;
                self.remove_object(&key, removed)?;
                removed.checkpoints.push(gone.name.clone());
            }
        }
        while let Some(gone) = self.being_removed.last().cloned() {
            let in_use = self.content_in_use();
            let beside = evaluations(&self.run_id, &gone.name);
            let keys = gone.files.iter().map(|file| link(&self.run_id, &file.object)).chain([beside]);
            for key in keys.filter(|key| !in_use.contains(key)).collect::<BTreeSet<String>>() {
                if self.objects.contains_key(&key) {
                    self.lease.keep()?;
                    self.remove_object(&key, removed)?;
                }
            }
            self.being_removed.pop();
        }
        Ok(())
    }

    /// Looks again at which of the checkpoints are there, and counts no more on the others. A former writer
    /// that was stopped in a deletion for longer than its lease can have finished it since this one began.
    /// Returns the names of those that are gone: what is on disk can be sent again.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::apply_retention`].
    pub fn look_again(&mut self) -> Result<Vec<String>> {
        self.lease.keep()?;
        let listed = self.store.list(&self.run_id)?.into_iter().map(|object| (object.key, object.size));
        let listed: BTreeMap<String, u64> = listed.collect();
        let run_id = &self.run_id;
        let is_there = |checkpoint: &MirroredCheckpoint| {
            let mut files = checkpoint.files.iter();
            listed.contains_key(&commit(run_id, &checkpoint.name))
                && files.all(|file| listed.get(&link(run_id, &file.object)) == Some(&file.size))
        };
        let all = std::mem::take(&mut self.checkpoints);
        let (there, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(is_there);
        self.checkpoints = there;
        self.incomplete.extend(gone.iter().cloned());
        // Without its commit object, what is left of one is a leftover.
        self.incomplete.retain(|checkpoint| listed.contains_key(&commit(run_id, &checkpoint.name)));
        let mut lost: Vec<String> =
            self.objects.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        // Content of another size is not what was sent: it is sent under another name.
        let files = gone.iter().flat_map(|checkpoint| &checkpoint.files);
        let objects = files.map(|file| (link(run_id, &file.object), file.size));
        lost.extend(objects.filter(|(key, size)| listed.get(key) != Some(size)).map(|(key, _)| key));
        lost.iter().for_each(|key| self.retire(key));
        Ok(gone.into_iter().map(|checkpoint| checkpoint.name).collect())
    }

    /// The content that commit objects name which are there, and the evaluations of their checkpoints. So it
    /// is also of those that are not whole.
    pub(super) fn content_in_use(&self) -> BTreeSet<String> {
        let committed = || self.checkpoints.iter().chain(&self.incomplete);
        let files = committed().flat_map(|checkpoint| &checkpoint.files);
        let beside = committed().map(|checkpoint| evaluations(&self.run_id, &checkpoint.name));
        files.map(|file| link(&self.run_id, &file.object)).chain(beside).collect()
    }

    pub(super) fn remove_object(&mut self, key: &str, removed: &mut Removed) -> Result<()> {
        // Its name stays taken: a delayed write or deletion must not meet other content.
        self.own.insert(key.to_owned(), OwnObject::Retired);
        self.store.delete(key)?;
        if let Some(object) = self.objects.remove(key) {
            removed.objects += 1;
            removed.bytes += object.size;
        }
        Ok(())
    }
}
