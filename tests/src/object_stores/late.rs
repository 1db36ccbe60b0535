//! What a simulated store does late: after its answer was an error, and after other operations.

use futures_util::FutureExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result};

use super::simulated_store::{Late, SimulatedStore, lost};

impl SimulatedStore {
    /// The objects that late deletions have deleted so far.
    #[must_use]
    pub fn deleted_late(&self) -> Vec<String> {
        self.state.lock().deleted_late.clone()
    }

    /// Has a write or a deletion be done after this many later operations. Returns its error.
    pub(super) fn later(&self, after: u64, path: &Path, put: Option<(PutPayload, PutMode)>) -> Error {
        let mut state = self.state.lock();
        let at = state.operations + after;
        state.late.push(Late { at, path: path.clone(), put });
        lost("late")
    }

    /// Does what is late and whose time has come.
    pub(super) fn do_late(&self, now: u64) {
        let due: Vec<Late> = {
            let mut state = self.state.lock();
            let (due, later) = std::mem::take(&mut state.late).into_iter().partition(|late| late.at <= now);
            state.late = later;
            due
        };
        for Late { path, put, .. } in due {
            // A write whose condition does not hold any more is not done.
            let is_deletion = put.is_none();
            let done = match put {
                Some((payload, mode)) => self.put_now(&path, payload, PutOptions::from(mode)).map(drop),
                None => self.delete_now(&path),
            };
            if is_deletion && done.is_ok() {
                self.state.lock().deleted_late.push(path.to_string());
            }
        }
    }

    /// Deletes at once. Fails where there is nothing.
    fn delete_now(&self, path: &Path) -> Result<()> {
        let is_there = self.inner.head(path).now_or_never();
        is_there.unwrap_or_else(|| Err(lost("head")))?;
        let done = self.inner.delete(path).now_or_never();
        done.unwrap_or_else(|| Err(lost("delete")))
    }
}
