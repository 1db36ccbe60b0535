//! How the checkpoints are deleted that do not stay in a mirror: the commit object first, so that no reader
//! believes what is being deleted.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::error::Result;
use crate::mirror::object_names::{COMMIT_SUFFIX, below_checkpoints, commit, link, link_of_key};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::sending::mirror_keep::MirrorKeep;
use crate::mirror::sending::run_mirror::RunMirror;

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
    /// no other checkpoint has.
    ///
    /// # Errors
    ///
    /// [`Error::MirrorInUse`](crate::Error::MirrorInUse); [`Error::Mirror`](crate::Error::Mirror). What was
    /// not deleted then is deleted by a later call.
    pub fn apply_retention(&mut self, keep: &MirrorKeep) -> Result<Removed> {
        let mut removed = Removed::default();
        for name in self.would_remove(keep) {
            self.remove(&name, &mut removed)?;
        }
        Ok(removed)
    }

    fn remove(&mut self, name: &str, removed: &mut Removed) -> Result<()> {
        self.lease.keep()?;
        let Some(place) = self.checkpoints.iter().position(|there| there.name == name) else { return Ok(()) };
        self.remove_object(&commit(&self.run_id, name), removed)?;
        let gone = self.checkpoints.remove(place);
        removed.checkpoints.push(gone.name);
        let in_use = self.content_in_use();
        for file in gone.files {
            let key = link(&self.run_id, &file.object);
            if !in_use.contains(&key) {
                self.remove_object(&key, removed)?;
            }
        }
        Ok(())
    }

    /// Deletes content without a commit object (what a writer left that was killed, or of a checkpoint that
    /// was replaced) if it is older than this. Content that another writer is still sending is younger.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::apply_retention`].
    pub fn remove_leftovers(&mut self, older_than: SignedDuration) -> Result<Removed> {
        self.lease.renew()?;
        let (mut removed, in_use, now) =
            (Removed::default(), self.content_in_use(), self.lease.writer().now());
        let is_left = |key: &str| {
            below_checkpoints(&self.run_id, key).is_some()
                && link_of_key(&self.run_id, key).is_none()
                && !key.ends_with(COMMIT_SUFFIX)
                && !in_use.contains(key)
        };
        let old: Vec<String> = self
            .objects
            .values()
            .filter(|object| is_left(&object.key) && now.duration_since(object.modified) > older_than)
            .map(|object| object.key.clone())
            .collect();
        for key in old {
            self.lease.keep()?;
            self.remove_object(&key, &mut removed)?;
        }
        Ok(removed)
    }

    /// The content of the checkpoints that are there.
    fn content_in_use(&self) -> BTreeSet<String> {
        let files = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.files);
        files.map(|file| link(&self.run_id, &file.object)).collect()
    }

    fn remove_object(&mut self, key: &str, removed: &mut Removed) -> Result<()> {
        self.store.delete(key)?;
        if let Some(object) = self.objects.get(key) {
            removed.objects += 1;
            removed.bytes += object.size;
        }
        // Its name stays taken: a delayed write of what was deleted must not meet other content.
        self.retire(key);
        Ok(())
    }
}
