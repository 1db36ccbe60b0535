//! What the file system of a run cannot do, said once at its start.

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::{RunLock, can_be_synced, cannot_be_synced};

use crate::error::Result;
use crate::process::console::warn;

/// Warns of a run that is not locked, and of checkpoints that are not safe from a power loss.
pub(super) fn report(lock: &RunLock, layout: &RunLayout) -> Result<()> {
    if let Some(error) = lock.unsupported() {
        warn(&format!(
            "the file system of {} has no locks ({error}): nothing prevents a second process from writing to this run. \
             lock=\"off\" hides this line, lock=\"required\" makes it an error",
            layout.run_dir().display()
        ));
    }
    if cfg!(unix) && !can_be_synced(layout.run_dir())? {
        warn(&cannot_be_synced(layout.run_dir()));
    }
    Ok(())
}
