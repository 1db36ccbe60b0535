//! At which steps a run has checkpoints.

use burn_ckpt::metrics_log::Scope;
use burn_ckpt::plumbing::is_directory;
use burn_ckpt::{Metadata, RunLayout, chain};

use crate::ls::listing::Listing;
use crate::ls::not_whole::NotWhole;
use crate::metrics::values::is_same;
use crate::plot::curves::Curve;
use crate::terminal::output::say;

/// How the links to the best checkpoints begin.
const BEST_LINK: &str = "best";

/// The steps of a run's checkpoints.
#[derive(Debug, Default)]
pub struct SavedSteps {
    pub all: Vec<u64>,
    pub best: Vec<u64>,
}

impl SavedSteps {
    /// As far as they can be read, which is said: they are only marks. Not those of a part of the run that
    /// was trained again after a resume from an earlier checkpoint: there the curves are of other states.
    pub fn of_run(layout: &RunLayout, curves: &[Curve]) -> Self {
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
        for row in rows.iter().filter(|row| row.problem.is_none()) {
            let Some(metadata) = row.metadata.as_ref().filter(|metadata| is_on(curves, metadata)) else {
                continue;
            };
            saved.all.push(metadata.global_step);
            if row.links.iter().any(|link| link.starts_with(BEST_LINK)) {
                saved.best.push(metadata.global_step);
            }
        }
        saved
    }
}

/// Whether no validation at a checkpoint's step has another value than the checkpoint.
fn is_on(curves: &[Curve], metadata: &Metadata) -> bool {
    let differs = |curve: &Curve| {
        let value = metadata.metrics.get(&curve.metric).copied();
        let mut there = curve.points.iter().filter(|point| point.step == Some(metadata.global_step));
        value.is_some_and(|value| there.any(|point| !value.is_nan() && !is_same(point.value, value)))
    };
    !curves.iter().any(|curve| curve.scope == Scope::Validation && differs(curve))
}
