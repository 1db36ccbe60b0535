//! Carrying out what the retention rules say: links move first, then files that no strategy keeps are
//! removed.

use std::path::{Path, PathBuf};

use crate::disk::commit::remove_checkpoint;
use crate::disk::directories::{parent, real_path_if_there, sync_directory};
use crate::disk::{links, storage};
use crate::error::{Error, Result};
use crate::retention::ledger::RetentionChanges;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct RetentionOutcome {
    /// The files that are removed.
    pub(crate) removed: Vec<PathBuf>,
    /// The first link that could not be moved. It is tried again with the next changes.
    pub(crate) unmoved_link: Option<Error>,
    /// The first file that could not be removed. It is tried again with the next changes.
    pub(crate) unremoved_file: Option<Error>,
}

/// Moves the links, then removes the files. Continues after an error.
///
/// A file stays while a link leads to it that could not be moved. Every file stays while it is not known to
/// be durable where the links lead: after a power loss they can lead to files of earlier changes again.
pub(crate) fn apply(changes: &RetentionChanges) -> RetentionOutcome {
    let mut applied = RetentionOutcome::default();
    let Some(linked) = move_links(changes, &mut applied) else { return applied };
    for path in &changes.remove {
        match remove_unless_linked(path, &linked) {
            Ok(true) => applied.removed.push(path.clone()),
            Ok(false) => {}
            Err(error) => {
                applied.unremoved_file.get_or_insert(error);
            }
        }
    }
    applied
}

/// Moves the links, and makes that durable. Returns the files that links may still lead to which could not be
/// moved; `None` if that can be any.
fn move_links(changes: &RetentionChanges, applied: &mut RetentionOutcome) -> Option<Vec<PathBuf>> {
    let mut before = Vec::with_capacity(changes.links.len());
    let mut failed = false;
    for (link, target) in &changes.links {
        before.push(storage::canonicalize(link));
        if let Err(error) = links::point(link, target) {
            applied.unmoved_link.get_or_insert(error);
            failed = true;
        }
    }
    let mut directories: Vec<&Path> = changes.links.iter().map(|(link, _)| parent(link)).collect();
    directories.dedup();
    let mut is_durable = true;
    for directory in directories {
        // Also if all were right already: the process that moved them may have been killed before this.
        if let Err(error) = sync_directory(directory) {
            applied.unmoved_link.get_or_insert(error);
            is_durable = false;
        }
    }
    // Nor is it known where the links of earlier changes lead after a power loss: those may not be durable
    // either.
    if !is_durable {
        return None;
    }
    let mut linked = Vec::new();
    if failed {
        for (before, (link, _)) in before.into_iter().zip(&changes.links) {
            match (before, storage::canonicalize(link)) {
                (Ok(before), Ok(after)) => linked.extend(before.into_iter().chain(after)),
                // Where a link leads is not known, so it can lead to any of them.
                _ => return None,
            }
        }
    }
    Some(linked)
}

/// Whether the file is removed.
fn remove_unless_linked(path: &Path, linked: &[PathBuf]) -> Result<bool> {
    if real_path_if_there(path)?.is_some_and(|real| linked.contains(&real)) {
        return Ok(false);
    }
    remove_checkpoint(path)?;
    Ok(true)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};

    /// A disk that makes no names durable.
    struct NoSyncs;

    impl Observer for NoSyncs {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            match operation {
                Operation::SyncDirectory(_) => Verdict::Fail(io::Error::other("it was told to")),
                _ => Verdict::Proceed,
            }
        }
    }

    #[test]
    fn what_a_link_leads_to_after_a_power_loss_stays_however_often_the_link_was_moved_since() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["a.ckpt", "b.ckpt", "c.ckpt"] {
            fs::write(at(name), "").unwrap();
        }
        let link = at("best.ckpt");
        let moved_to = |name: &str, remove: &[&str]| RetentionChanges {
            links: vec![(link.clone(), at(name))],
            remove: remove.iter().map(|name| at(name)).collect(),
        };
        assert!(apply(&moved_to("a.ckpt", &[])).unmoved_link.is_none());
        let observation = observe(directory.path(), Arc::new(NoSyncs));
        for (to, remove) in [("b.ckpt", vec!["a.ckpt"]), ("c.ckpt", vec!["a.ckpt", "b.ckpt"])] {
            let applied = apply(&moved_to(to, &remove));
            assert!(applied.unmoved_link.is_some() && applied.removed.is_empty(), "{applied:?}");
        }
        assert!(at("a.ckpt").exists(), "the link that is durable leads to it");
        drop(observation);
        let applied = apply(&moved_to("c.ckpt", &["a.ckpt", "b.ckpt"]));
        assert_eq!(applied.removed, [at("a.ckpt"), at("b.ckpt")]);
    }
}
