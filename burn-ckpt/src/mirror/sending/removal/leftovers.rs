//! What is deleted once it is old: content without a commit object, which a killed writer left, pieces of the
//! log of metrics that nothing needs any more, and files of a directory's unfinished uploads.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::SignedDuration;

use crate::error::Result;
use crate::file_names::shards_directory;
use crate::mirror::metrics_pieces::{is_piece, keys_up_to_each};
use crate::mirror::object_names::{COMMIT_SUFFIX, below_checkpoints, link_of_key};
use crate::mirror::sending::removal::retention::Removed;
use crate::mirror::sending::run_mirror::RunMirror;
use crate::mirror::store::Listed;

impl RunMirror {
    /// Deletes content without a commit object (what a writer left that was killed, or of a checkpoint that
    /// was replaced) if it is older than this, and pieces of the log of metrics that no checkpoint needs, as
    /// they were written again in fewer pieces, or cut. What another writer is still sending is younger. What
    /// is left of a checkpoint that is not whole stays. The content of a commit object that cannot be read
    /// stays, and so do all pieces then. In a directory the files of unfinished uploads are deleted too; in a
    /// bucket the store's own rule does that.
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
        let pieces = self.unneeded_pieces();
        let old: Vec<String> = self
            .objects
            .values()
            .filter(|object| is_left(&object.key) || pieces.contains(&object.key))
            .filter(|object| now.duration_since(object.modified) > older_than)
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

    /// The pieces that neither the log nor that of a checkpoint is made of.
    fn unneeded_pieces(&self) -> BTreeSet<String> {
        if !self.unreadable.is_empty() {
            return BTreeSet::new();
        }
        let is_of_log = |object: &&Listed| is_piece(&self.run_id, &object.key);
        let pieces: Vec<&Listed> = self.objects.values().filter(is_of_log).collect();
        let committed = self.checkpoints.iter().chain(&self.incomplete).chain(&self.being_removed);
        let logs = committed.filter_map(|checkpoint| checkpoint.metrics_log.as_ref());
        let lasts = logs.map(|log| log.last_piece).collect();
        let mut needed = keys_up_to_each(&self.run_id, pieces.iter().copied(), &lasts);
        needed.extend(self.log.keys(&self.run_id));
        let keys = pieces.into_iter().map(|object| object.key.clone());
        keys.filter(|key| !needed.contains(key)).collect()
    }

    /// Whether an object is named after a checkpoint whose commit object cannot be read.
    fn is_of_unreadable(&self, object: &str) -> bool {
        self.unreadable.iter().any(|name| {
            let shards = shards_directory(Path::new(name));
            object.starts_with(name.as_str()) || Path::new(object).starts_with(shards)
        })
    }
}
