//! Removing a run: its links, then the commit objects, so that no reader believes what is being deleted, then
//! everything else of it, and last the lease.

use jiff::SignedDuration;

use crate::error::Result;
use crate::file_names::CHECKPOINT_SUFFIX;
use crate::mirror::metrics_pieces::is_piece;
use crate::mirror::object_names::{below_checkpoints, checkpoint_of_commit, lease, link_of_key};
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::mirror::sending::removal::retention::Removed;
use crate::mirror::sending::run_mirror::RunMirror;
use crate::mirror::store::is_directory_lock;

impl MirroredRun {
    /// The objects of the run, and their bytes; and the addresses of those below it that are not known to be
    /// the run's.
    #[doc(hidden)]
    #[must_use]
    pub fn own_objects(&self) -> (Removed, Vec<String>) {
        let (mut own, mut others) = (Removed::default(), Vec::new());
        for object in self.objects.values() {
            if is_own(&self.run_id, &object.key) {
                own.checkpoints.extend(checkpoint_of_commit(&self.run_id, &object.key).map(str::to_owned));
                own.objects += 1;
                own.bytes = own.bytes.saturating_add(object.size);
            } else if object.key != lease(&self.run_id) && !is_directory_lock(&object.key) {
                others.push(self.store.shown(&object.key));
            }
        }
        (own, others)
    }
}

impl RunMirror {
    /// Deletes the run. Objects below its name that are not known to be the run's stay. What was deleted
    /// before an error is in `removed`; the rest is deleted by the next call.
    ///
    /// # Errors
    ///
    /// As for [`RunMirror::apply_retention`](crate::mirror::RunMirror::apply_retention).
    #[doc(hidden)]
    pub fn remove_run(mut self, removed: &mut Removed) -> Result<()> {
        match self.remove_objects(removed) {
            Ok(()) => {
                self.lease.remove()?;
                self.store.remove_directory_of_run(&self.run_id)
            }
            Err(error) => Err(self.lease.release_after(error)),
        }
    }

    fn remove_objects(&mut self, removed: &mut Removed) -> Result<()> {
        self.lease.renew()?;
        let own = self.objects.keys().filter(|key| is_own(&self.run_id, key));
        let mut own: Vec<String> = own.cloned().collect();
        own.sort_by_key(|key| self.removal_step(key));
        for key in own {
            self.lease.keep()?;
            self.remove_object(&key, removed)?;
            removed.checkpoints.extend(checkpoint_of_commit(&self.run_id, &key).map(str::to_owned));
        }
        let now = self.lease.writer().now();
        for bytes in self.store.remove_unfinished(&self.run_id, now, SignedDuration::ZERO)? {
            removed.objects += 1;
            removed.bytes = removed.bytes.saturating_add(bytes);
        }
        Ok(())
    }

    fn removal_step(&self, key: &str) -> RemovalStep {
        if link_of_key(&self.run_id, key).is_some() {
            RemovalStep::Links
        } else if checkpoint_of_commit(&self.run_id, key).is_some() {
            RemovalStep::Commits
        } else {
            RemovalStep::Content
        }
    }
}

/// In the order in which they are removed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum RemovalStep {
    Links,
    Commits,
    Content,
}

/// Whether an object is a run's: by its name, as content without a commit object is the run's too.
fn is_own(run_id: &str, key: &str) -> bool {
    let is_checkpoints = |name: &str| name.contains(CHECKPOINT_SUFFIX);
    is_piece(run_id, key) || below_checkpoints(run_id, key).is_some_and(is_checkpoints)
}
