//! What a killed writer left: content without a commit object, and files of a directory's unfinished uploads.

use std::path::Path;

use jiff::SignedDuration;

use crate::error::Result;
use crate::file_names::shards_directory;
use crate::mirror::object_names::{COMMIT_SUFFIX, below_checkpoints, link_of_key};
use crate::mirror::sending::retention::Removed;
use crate::mirror::sending::run_mirror::RunMirror;

impl RunMirror {
    /// Deletes content without a commit object (what a writer left that was killed, or of a checkpoint that
    /// was replaced) if it is older than this. Content that another writer is still sending is younger. The
    /// content of a commit object that cannot be read stays. In a directory the files of unfinished uploads
    /// are deleted too; in a bucket the store's own rule does that.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::apply_retention`]; [`Error::Io`](crate::Error::Io) for a file of an unfinished
    /// upload.
    pub fn remove_leftovers(&mut self, older_than: SignedDuration) -> Result<Removed> {
        self.lease.renew()?;
        let (mut removed, in_use, now) =
            (Removed::default(), self.content_in_use(), self.lease.writer().now());
        let is_left = |key: &str| {
            below_checkpoints(&self.run_id, key).is_some_and(|name| !self.is_of_unreadable(name))
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
        self.lease.keep()?;
        for bytes in self.store.remove_unfinished(&self.run_id, now, older_than)? {
            removed.objects += 1;
            removed.bytes += bytes;
        }
        Ok(removed)
    }

    /// Whether an object is named after a checkpoint whose commit object cannot be read.
    fn is_of_unreadable(&self, object: &str) -> bool {
        self.unreadable.iter().any(|name| {
            let shards = shards_directory(Path::new(name));
            object.starts_with(name.as_str()) || Path::new(object).starts_with(shards)
        })
    }
}
