//! What a start of a run says: what it verifies, and from where it begins.

use std::path::Path;

use burn_ckpt::plumbing::{shards_directory, size, storage};
use burn_ckpt::{Catalog, Metadata, RunLayout};

use crate::config::TrainerConfig;
use crate::model_summary::{ModelSummary, ModuleSummary};
use crate::process::console::{note, warn};
use crate::process::launcher::{self, LauncherRank};
use crate::process::progress::figures::count;
use crate::process::progress::terminal_width::terminal_width;
use crate::state::resume_point::ResumePoint;
use crate::training_loop::parts::run_limits::NothingLeft;

/// The most modules that are listed.
const MAX_MODULES: usize = 24;

/// Says what the rank of this process means for it, unless that is 0.
pub(super) fn rank(config: &TrainerConfig, run_id: &str) {
    match (config.rank, launcher::rank()) {
        (Some(rank), _) if rank > 0 => note(&format!(
            "rank {rank}: this process trains, and the one of rank 0 saves and shows the run {run_id} (rank is set)"
        )),
        (None, Some(LauncherRank { number, variable })) if number > 0 => note(&format!(
            "rank {number} ({variable}): burn trains in one process, so this one trains and saves a run of its own, {run_id}; \
             give each process its own run_id, or set rank if they train one model together"
        )),
        _ => {}
    }
}

/// Says what a resume verifies first, and how large it is: it can take a while. What of it cannot be read is
/// not counted. That ends no start here: it says why when it is opened, and `auto` skips it.
pub(super) fn verifying(file: Option<&Path>) {
    let Some(Ok(Some(real))) = file.map(storage::canonicalize) else { return };
    // Also where a loop of links, or a file, has the name of the shards' directory.
    let mut files = match storage::list(&shards_directory(&real)) {
        Ok(shards) => shards.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    files.push(real);
    let sizes = files.iter().map(|file| match storage::stat(file) {
        Ok(stat) => stat.map_or(0, |stat| stat.len()),
        Err(_) => 0,
    });
    let bytes = sizes.sum();
    note(&format!("verifying checkpoints: {}, {}", count(files.len() as u64, "file"), size(bytes)));
}

/// Says from where the run begins. `is_own`: the checkpoint is one of this run, and not of another.
pub(super) fn starting(
    config: &TrainerConfig,
    layout: &RunLayout,
    resume: Option<&ResumePoint>,
    is_own: bool,
) {
    note(&line(config, layout, resume, is_own));
}

fn line(config: &TrainerConfig, layout: &RunLayout, resume: Option<&ResumePoint>, is_own: bool) -> String {
    let run_id = layout.run_id();
    let Some(resume) = resume else {
        return match config.ckpt_path.as_deref() {
            Some("auto") if config.run_id_is_generated => format!(
                "starting {run_id}, a new run: without a run_id, ckpt_path \"auto\" finds no earlier one; name the run with \
                 run_id (--run-id)"
            ),
            Some("auto") => match &config.mirror {
                None => format!("starting {run_id}: no checkpoint yet"),
                Some(mirror) => format!(
                    "starting {run_id}: no checkpoint yet, neither on disk nor in {}/{run_id}",
                    mirror.address.trim_end_matches('/')
                ),
            },
            _ => format!("starting {run_id}"),
        };
    };
    let from = shown(resume.checkpoint.path(), layout);
    let progress = progress(resume, config.max_epochs as u64);
    if is_own {
        return format!("resuming {run_id} from {from} ({progress})");
    }
    let other = &resume.metadata.run_id;
    format!(
        "starting {run_id} from {from} of the run {other} ({progress}); its list of best checkpoints begins empty"
    )
}

/// Says what the model consists of, down to a depth.
pub(super) fn model(summary: &ModelSummary, depth: usize) {
    note(&format!("model {}: {}", summary.kind, summary.in_short()));
    let modules: Vec<&ModuleSummary> = summary.down_to(depth).collect();
    for line in ModelSummary::lines(modules.iter().copied().take(MAX_MODULES), terminal_width()) {
        note(&line);
    }
    match modules.len().saturating_sub(MAX_MODULES) {
        0 => {}
        more => note(&format!("  and {more} more (burn_trainer::model_summary has all)")),
    }
}

/// Says that there are checkpoints of steps after the one that the run resumes from, and what becomes of
/// them. Where nothing is left to train, all stays as it is.
pub(super) fn newer_checkpoints(config: &TrainerConfig, present: &Catalog, resume: &ResumePoint) {
    if NothingLeft::of(config, resume).is_some() {
        return;
    }
    let from = &resume.metadata;
    let newer: Vec<&Metadata> = { present.entries.iter().map(|entry| &entry.metadata) }
        .filter(|metadata| metadata.run_id == from.run_id)
        .filter(|metadata| metadata.checkpoint_timestamp > from.checkpoint_timestamp)
        .collect();
    let Some(newest) = newer.iter().map(|metadata| metadata.global_step).max() else { return };
    let finite = newer.iter().filter(|metadata| metadata.is_finite()).count();
    let ranks = ranks_of_newer(finite, newer.len());
    warn(&format!(
        "the run has newer checkpoints (up to step {newest}) than the one it resumes from: each stays until the run saves that step \
         again or keeps newer ones in its place, and {ranks}; what was logged after that one is replaced"
    ));
}

/// What becomes of `all` states, of which some have only finite values. Another one never ranks.
fn ranks_of_newer(finite: usize, all: usize) -> &'static str {
    match finite {
        0 => "none ranks among the best, as their values are not finite",
        _ if finite < all => "those whose values are finite rank among the best",
        _ => "they rank among the best",
    }
}

/// A checkpoint's path relative to the run's directory of checkpoints, if it is below that.
pub(super) fn shown(path: &Path, layout: &RunLayout) -> String {
    path.strip_prefix(layout.checkpoint_dir()).unwrap_or(path).display().to_string()
}

fn progress(resume: &ResumePoint, max_epochs: u64) -> String {
    let position = resume.state.position.next();
    let epoch = position.epoch + 1;
    if position.epoch >= max_epochs {
        let are = if position.epoch == 1 { "is" } else { "are" };
        format!("{} {are} done, of {max_epochs}", count(position.epoch, "epoch"))
    } else if position.trained {
        format!("epoch {epoch} of {max_epochs}, before its validation")
    } else if position.batches > 0 {
        let batches = if position.batches == 1 { "batch" } else { "batches" };
        let validation = if position.validation_due { ", before a validation" } else { "" };
        format!("epoch {epoch} of {max_epochs}, after {} {batches}{validation}", position.batches)
    } else {
        format!("epoch {epoch} of {max_epochs}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_states_are_said_to_rank() {
        assert!(ranks_of_newer(2, 2).starts_with("they rank among the best"));
        assert!(ranks_of_newer(1, 2).starts_with("those whose values are finite rank"));
        assert!(ranks_of_newer(0, 2).starts_with("none ranks"));
    }
}
