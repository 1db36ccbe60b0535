//! Carrying out what the retention rules say: links move first, then files that no strategy keeps are removed.

use crate::disk::commit::remove_checkpoint;
use crate::disk::directories::sync_directory_of;
use crate::disk::links;
use crate::error::Result;
use crate::retention::ledger::RetentionChanges;

/// Moves the links, then removes the files. Continues after an error, and returns the first one.
///
/// A file stays while a link that could not be moved leads to it.
pub(crate) fn apply(changes: &RetentionChanges) -> Result<()> {
    let mut failure = None;
    let mut still_linked = Vec::new();
    for (link, target) in &changes.links {
        if let Err(error) = links::point(link, target) {
            failure.get_or_insert(error);
            still_linked.extend(std::fs::canonicalize(link));
        }
    }
    for path in &changes.remove {
        if std::fs::canonicalize(path).is_ok_and(|path| still_linked.contains(&path)) {
            continue;
        }
        if let Err(error) = remove_checkpoint(path).and_then(|()| sync_directory_of(path)) {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}
