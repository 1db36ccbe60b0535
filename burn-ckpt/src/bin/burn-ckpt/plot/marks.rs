//! At which steps a run has checkpoints.

use burn_ckpt::plumbing::{is_directory, is_trained_again, primary_metric};
use burn_ckpt::{Metadata, RunLayout, chain};

use crate::ls::listing::{Listing, Row};
use crate::ls::metric_mode::is_best_by;
use crate::ls::not_whole::NotWhole;
use crate::terminal::output::say;

/// The steps of a run's checkpoints.
#[derive(Debug, Default)]
pub struct SavedSteps {
    pub all: Vec<u64>,
    pub best: Vec<u64>,
}

impl SavedSteps {
    /// As far as they can be read, which is said: they are only marks. Not those of a part of the run that
    /// was trained again after a resume from an earlier checkpoint: there the curves are of other states. The
    /// best is that of the primary metric alone.
    pub fn of_run(layout: &RunLayout) -> Self {
        let mut saved = Self::default();
        let listing = is_directory(&layout.checkpoint_dir())
            .and_then(|is_there| is_there.then(|| Listing::of_run(layout)).transpose());
        let rows = match listing {
            Ok(None) => return saved,
            Ok(Some(listing)) => {
                NotWhole::of(&listing).say_as_note(layout.run_dir());
                listing.rows
            }
            Err(error) => {
                say(format!("warning: the run's checkpoints are not marked: {}", chain(&error)));
                return saved;
            }
        };
        let whole: Vec<&Row> = rows.iter().filter(|row| row.problem.is_none()).collect();
        let newest = whole.last().and_then(|row| Some((row, row.metadata.as_ref()?)));
        let primary = newest.and_then(|(_, metadata)| primary_metric(&metadata.trainer_config));
        // The starts are in the whole metadata alone. The run may have deleted the newest one meanwhile.
        let newest = newest.and_then(|(row, _)| Metadata::of_checkpoint(&row.path).ok());
        for row in &whole {
            let Some(metadata) = &row.metadata else { continue };
            if newest.as_ref().is_some_and(|newest| is_trained_again(metadata, newest)) {
                continue;
            }
            saved.all.push(metadata.global_step);
            if primary.is_some_and(|primary| is_best_by(row, primary)) {
                saved.best.push(metadata.global_step);
            }
        }
        saved
    }
}
