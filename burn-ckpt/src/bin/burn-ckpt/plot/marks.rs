//! At which steps a run has checkpoints.

use burn_ckpt::RunLayout;
use burn_ckpt::plumbing::is_directory;

use crate::ls::listing::Listing;

/// How the links to the best checkpoints begin.
const BEST_LINK: &str = "best";

/// The steps of a run's checkpoints.
#[derive(Debug, Default)]
pub struct SavedSteps {
    pub all: Vec<u64>,
    pub best: Vec<u64>,
}

impl SavedSteps {
    /// As far as they can be read: they are only marks.
    pub fn of_run(layout: &RunLayout) -> Self {
        let mut saved = Self::default();
        if !is_directory(&layout.checkpoint_dir()).unwrap_or(false) {
            return saved;
        }
        let rows = Listing::of_run(layout).map(|listing| listing.rows).unwrap_or_default();
        for row in rows.iter().filter(|row| row.problem.is_none()) {
            let Some(metadata) = &row.metadata else { continue };
            saved.all.push(metadata.global_step);
            if row.links.iter().any(|link| link.starts_with(BEST_LINK)) {
                saved.best.push(metadata.global_step);
            }
        }
        saved
    }
}
