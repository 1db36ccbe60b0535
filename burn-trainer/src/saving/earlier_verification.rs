//! What is said of the checkpoints of earlier starts, which the writer verifies beside training.

use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{Ledger, size, storage};
use burn_ckpt::retention::SavedCheckpoint;
use indexmap::IndexMap;

use super::run_checkpoints::report_skipped;
use crate::process::console::{note, warn};

/// Bytes that are verified in about a second.
const QUICKLY_VERIFIED: u64 = 1 << 30;

/// Warns of those that were found to be damaged, and of those that could not be read.
pub(super) fn report_damaged(ledger: &mut Ledger) {
    for (path, error) in ledger.take_damaged() {
        report_skipped(&path, &chain(&error));
    }
    for (path, error) in ledger.take_unread() {
        warn(&format!(
            "{} cannot be verified now, and keeps its rank: {}; it is tried again after the next save",
            path.display(),
            chain(&error)
        ));
    }
}

/// Says for what the end of the run waits, where that takes longer than about a second.
pub(super) fn announce(ledger: &Ledger) {
    let unverified: Vec<PathBuf> = ledger.unverified().map(Path::to_path_buf).collect();
    // One that cannot be read is reported when it is verified.
    let size_of = |path: &PathBuf| storage::stat(path).ok().flatten().map_or(0, |stat| stat.len());
    let bytes: u64 = unverified.iter().map(size_of).sum();
    if bytes > QUICKLY_VERIFIED {
        note(&format!("verifying {} earlier checkpoints before the end: {}", unverified.len(), size(bytes)));
    }
}

/// The best (or newest) checkpoint of each strategy. Says so where it is not verified.
pub(super) fn leading(ledger: &Ledger, strategies: Vec<String>) -> IndexMap<String, SavedCheckpoint> {
    let mut leading = IndexMap::new();
    for strategy in strategies {
        let Some(first) = ledger.top_ranked(&strategy).cloned() else { continue };
        if ledger.unverified().any(|path| path == first.path) {
            warn(&format!(
                "{} is the first of {strategy} by its metadata alone: its bytes are not verified yet, which burn-ckpt verify does",
                first.path.display()
            ));
        }
        leading.insert(strategy, first);
    }
    leading
}
