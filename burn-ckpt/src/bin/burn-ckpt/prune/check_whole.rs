//! Whether what `prune` leaves is whole, which is found out before anything is removed.

use std::path::PathBuf;

use crate::ls::listing::reason;
use crate::parallel_verify::{all_processors, verify_all};
use crate::verb_result::Failure;

/// Reads the checkpoints that stay. An error if one of them is not complete, with what to do then.
pub fn check_whole(paths: &[PathBuf], advice: &str) -> Result<(), Failure> {
    let mut damaged = Vec::new();
    verify_all(paths, all_processors(), |path, outcome| {
        if let Err(error) = outcome {
            damaged.push(format!("{}: {}", path.display(), reason(&error)));
        }
        Ok(())
    })?;
    match damaged.as_slice() {
        [] => Ok(()),
        damaged => Err(Failure::Other(format!(
            "what would stay is not complete, and nothing is removed ({advice}): {}",
            damaged.join("; ")
        ))),
    }
}
