//! The checkpoints that a resumed run already has: those of each strategy, the file names that a kill
//! prevented, and whether the strategies are still the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_ckpt::plumbing::{
    FileDigests, FileIdentity, StagingOwner, add_name, checkpoint_identity, file_digests, is_there,
    real_path_if_there,
};
use burn_ckpt::retention::SavedCheckpoint;
use burn_ckpt::retention::{Candidate, KeepRule};
use burn_ckpt::{Catalog, Checkpoint, ErrorKind, Metadata, RunLayout, chain};
use indexmap::IndexMap;
use jiff::Timestamp;

use super::checkpoint_events::CheckpointInfo;
use super::run_checkpoints::{report_skipped, twin};
use super::saved_names::SavedFor;
use crate::config::TrainerConfig;
use crate::error::Result;
use crate::process::console::warn;
use crate::process::progress::figures::count;
use crate::state::position::Position;
use crate::state::resume_point::ResumePoint;

/// The checkpoints before the first save. The default is for a new run.
#[derive(Debug, Default)]
pub(crate) struct ExistingCheckpoints {
    /// By strategy, in the order in which they were saved.
    by_strategy: IndexMap<String, Vec<StrategyCheckpoint>>,
    /// The training time of the state that the run resumes from.
    resumed_at: Option<Duration>,
    /// When the newest state was saved.
    pub(crate) newest: Option<Timestamp>,
    /// The checkpoint that the run resumes from, and the position of its state.
    pub(crate) origin: Option<(Position, PathBuf)>,
    /// Whether the strategies can differ from those that kept these checkpoints.
    pub(crate) rules_differ: bool,
    staging_owner: StagingOwner,
    /// The checkpoints that strategies have taken, and that are not verified yet, with their digests.
    unverified: Vec<(PathBuf, FileDigests)>,
    /// What there is to say of the checkpoints that strategies have taken.
    taken: Vec<CheckpointInfo>,
    /// The checkpoints that could not be read, so that no strategy has them.
    unread: Vec<PathBuf>,
}

/// A checkpoint that was saved for a strategy.
#[derive(Debug)]
struct StrategyCheckpoint {
    saved: SavedCheckpoint,
    info: CheckpointInfo,
    training_time: Duration,
    missing: Option<MissingName>,
    /// The digests of its files, unless it was verified at this start.
    unverified: Option<FileDigests>,
}

/// A file name that does not exist, while the state exists under another name.
#[derive(Debug)]
struct MissingName {
    /// Where the state exists.
    state: PathBuf,
    reason: String,
}

impl ExistingCheckpoints {
    /// Reads the headers of all checkpoints of a run. Each names the strategies that it was saved for. Their
    /// bytes are verified beside training: a damaged one must not be the best, nor take the place of an
    /// intact one. `complete`: the configuration has every strategy.
    pub(crate) fn read(
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        resume: Option<&ResumePoint>,
        complete: bool,
    ) -> Result<Self> {
        let rules = |config: &TrainerConfig| {
            let config = config.spelled_out();
            (config.primary_metric, config.strategies)
        };
        let then = resume.and_then(|resume| {
            serde_json::from_value::<TrainerConfig>(resume.metadata.trainer_config.clone()).ok()
        });
        // The resume has just verified this file, whatever its name.
        let verified = match resume {
            Some(ResumePoint { checkpoint, metadata, .. }) => {
                Some((identity(checkpoint.path(), metadata)?, metadata.checkpoint_checksum.as_str()))
            }
            None => None,
        };
        let origin = resume.map(|resume| {
            let path = twin(&resume.metadata, present).unwrap_or(resume.checkpoint.path());
            (resume.state.position, path.to_path_buf())
        });
        let seconds = resume.map(|resume| resume.metadata.training_time_seconds);
        let staging_owner = layout.staging_owner()?;
        let broken = present.broken.iter().filter(|(_, error)| is_unread(error));
        let mut unread: Vec<PathBuf> = broken.map(|(path, _)| path.clone()).collect();
        Ok(Self {
            by_strategy: by_strategy(layout, present, verified, &mut unread)?,
            resumed_at: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            newest: present.entries.iter().map(|entry| entry.metadata.checkpoint_timestamp).max(),
            origin,
            staging_owner,
            unverified: Vec::new(),
            taken: Vec::new(),
            unread,
            rules_differ: !complete || then.as_ref().map(rules) != Some(rules(config)),
        })
    }

    /// The training time at which a strategy's newest checkpoint was saved, of those that came before the
    /// state that the run resumes from. `None` for a run that does not resume, and where there are none.
    pub(crate) fn newest_training_time(&self, strategy: &str) -> Option<Duration> {
        let times = self.by_strategy.get(strategy)?.iter().map(|found| found.training_time);
        times.filter(|time| Some(*time) <= self.resumed_at).max()
    }

    /// The checkpoint to which a strategy's link leads, if it cannot be read now.
    pub(super) fn unread_target(&self, link: &Path) -> Option<PathBuf> {
        if self.unread.is_empty() {
            return None;
        }
        let Ok(target) = real_path_if_there(link) else { return Some(link.to_path_buf()) };
        let target = target?;
        let is_unread = self.unread.iter().any(|path| {
            // One whose place cannot be found out can be it.
            path.file_name() == target.file_name()
                && real_path_if_there(path).map_or(true, |real| real.as_ref() == Some(&target))
        });
        is_unread.then_some(target)
    }

    /// Says of which strategies there are checkpoints, and links, that no strategy of this start has taken.
    pub(super) fn report_rest(&self) {
        for (strategy, found) in &self.by_strategy {
            let checkpoints = found.iter().filter(|found| found.missing.is_none()).count();
            if checkpoints > 0 {
                let checkpoints = count(checkpoints as u64, "checkpoint");
                warn(&format!(
                    "the run has {checkpoints} of the strategy {strategy}, which this start does not have: they stay as they are, and \
                     so does the link to them"
                ));
            }
        }
    }

    /// Takes the checkpoints of a strategy, oldest first. A kill between two names of one state can have
    /// prevented the second name. It is created now, unless the strategy's rule would delete it.
    pub(crate) fn take(&mut self, strategy: &str, keep: KeepRule, directory: &Path) -> Vec<SavedCheckpoint> {
        let mut found = self.by_strategy.shift_remove(strategy).unwrap_or_default();
        // A path in a checkpoint must not lead to another directory.
        found.retain(|found| found.missing.is_none() || found.saved.path.parent() == Some(directory));
        // One that is not finite pushes out no other.
        let finite: Vec<usize> =
            (0..found.len()).filter(|position| found[*position].saved.is_finite).collect();
        let candidates: Vec<Candidate> = (0..)
            .zip(&finite)
            .map(|(order, position)| Candidate::new(found[*position].saved.score, order))
            .collect();
        let kept: Vec<usize> = keep.kept(&candidates).into_iter().map(|kept| finite[kept]).collect();
        let mut there = Vec::new();
        for (position, found) in found.into_iter().enumerate() {
            let StrategyCheckpoint { saved, info, missing, unverified, .. } = found;
            if let Some(MissingName { state, reason }) = missing {
                if !kept.contains(&position) {
                    continue;
                }
                // A damaged state gets no further name.
                let whole = match unverified {
                    Some(_) => Checkpoint::open(&state).and_then(|state| state.verify()).map(drop),
                    None => Ok(()),
                };
                if let Err(error) = whole {
                    report_skipped(&state, &chain(&error));
                    continue;
                }
                if let Err(error) = add_name(&state, &saved.path, &reason, &self.staging_owner) {
                    log::warn!("{} is missing: {}", saved.path.display(), chain(&error));
                    continue;
                }
                log::info!("{} was missing and is there again", saved.path.display());
            }
            self.unverified.extend(unverified.map(|files| (saved.path.clone(), files)));
            self.taken.push(info);
            there.push(saved);
        }
        there
    }

    /// The checkpoints that strategies have taken, and that are not verified yet, with their digests.
    pub(super) fn take_unverified(&mut self) -> Vec<(PathBuf, FileDigests)> {
        std::mem::take(&mut self.unverified)
    }

    /// What there is to say of the checkpoints that strategies have taken.
    pub(super) fn take_infos(&mut self) -> Vec<CheckpointInfo> {
        std::mem::take(&mut self.taken)
    }
}

/// What tells its files from those of other checkpoints.
fn identity(checkpoint: &Path, metadata: &Metadata) -> Result<Option<Vec<FileIdentity>>> {
    Ok(checkpoint_identity(checkpoint, metadata.shards.len())?)
}

/// Whether a checkpoint cannot be read now, and can be whole.
fn is_unread(error: &burn_ckpt::Error) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::PermissionDenied)
}

/// The checkpoints of each strategy. Adds those that cannot be read to `unread`.
fn by_strategy(
    layout: &RunLayout,
    present: &Catalog,
    verified: Option<(Option<Vec<FileIdentity>>, &str)>,
    unread: &mut Vec<PathBuf>,
) -> Result<IndexMap<String, Vec<StrategyCheckpoint>>> {
    let mut by_strategy: IndexMap<String, Vec<StrategyCheckpoint>> = IndexMap::new();
    let directory = layout.checkpoint_dir();
    for entry in &present.entries {
        let saved: SavedFor = match Checkpoint::open(&entry.path).and_then(|it| it.trainer_state()) {
            Ok(Some(saved)) => saved,
            // No trainer has saved it: an average, say.
            Ok(None) => continue,
            Err(error) => {
                if is_unread(&error) {
                    unread.push(entry.path.clone());
                }
                report_skipped(&entry.path, &chain(&error));
                continue;
            }
        };
        let this = (identity(&entry.path, &entry.metadata)?, entry.metadata.checkpoint_checksum.as_str());
        let is_verified = verified.as_ref() == Some(&this);
        // A copy that a user made, or a checkpoint of another run, belongs to no strategy.
        let is_own = entry.metadata.run_id == layout.run_id()
            && saved.saved_for.values().any(|path| directory.join(path) == entry.path);
        let is_finite = entry.metadata.is_finite();
        for (strategy, path) in &saved.saved_for {
            let path = directory.join(path);
            // A state of two strategies has two files with the same content. Each is that of its own
            // strategy.
            let missing = if path == entry.path {
                None
            } else if is_own && is_finite && !is_there(&path)? {
                let kind = || strategy.split(':').next().unwrap_or_default().to_owned();
                let reason = saved.reasons.get(strategy).cloned().unwrap_or_else(kind);
                Some(MissingName { state: entry.path.clone(), reason })
            } else {
                continue;
            };
            let list = by_strategy.entry(strategy.clone()).or_default();
            // Two other names of the state can name the same missing one.
            list.retain(|other| other.saved.path != path);
            let unverified = (!is_verified).then(|| file_digests(&path, &entry.metadata));
            let (step, score) = (entry.metadata.global_step, saved.scores.get(strategy).copied());
            list.push(StrategyCheckpoint {
                info: CheckpointInfo::of_earlier(&path, &entry.metadata),
                saved: SavedCheckpoint::new(path, step, score.unwrap_or(f64::NAN)).with_finite(is_finite),
                training_time: Duration::try_from_secs_f64(entry.metadata.training_time_seconds)
                    .unwrap_or_default(),
                missing,
                unverified,
            });
        }
    }
    Ok(by_strategy)
}
