//! Which checkpoint a run resumes from: what `ckpt_path` names, opened and verified.

use std::path::{Path, PathBuf};

#[cfg(feature = "mirror")]
use burn_ckpt::mirror::{MirrorAddress, MirroredRun, Store};
use burn_ckpt::plumbing::{links_to_missing_directories, resolve};
use burn_ckpt::{Catalog, CatalogEntry, Checkpoint, ErrorKind, RunLayout, Section, chain, locate};

use super::start_lines;
use crate::config::TrainerConfig;
use crate::error::skipped_checkpoint::Remedy;
use crate::error::{Error, Result, SkippedCheckpoint};
use crate::metrics::split_name;
use crate::mirror::MirrorOfRun;
use crate::process::console::warn;
use crate::saving::run_checkpoints::{report_skipped, scan};
use crate::state::position::Position;
use crate::state::resume_point::ResumePoint;
use crate::strategy::StrategyConfig;

/// Finds and verifies the checkpoint that `ckpt_path` names. `None` is a fresh start.
pub(crate) fn find(
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
) -> Result<Option<ResumePoint>> {
    let named = match config.ckpt_path.as_deref() {
        None | Some("none") => return Ok(None),
        Some("auto") => None,
        Some(name @ ("last" | "best")) if config.run_id_is_generated => {
            let reason = format!(
                "{name:?} is a checkpoint of the run, and no run is named: name it with run_id (--run-id), or give the path of \
                 a checkpoint"
            );
            return Err(Error::config("ckpt_path", reason));
        }
        Some("last") => Some(resolve(layout, "last", None)?),
        Some("best") => Some(best(config, layout)?),
        Some(path) => Some(locate(path)?),
    };
    // The others are verified beside training.
    let newest_path = present.entries.last().map(|entry| entry.path.as_path());
    start_lines::verifying(named.as_deref().or(newest_path));
    match named {
        Some(path) => {
            let resume = ResumePoint::open(&path)?;
            if let Some(found) = resume.metadata.found_non_finite() {
                warn(&format!("{} has {found}: training continues with them", path.display()));
            }
            Ok(Some(resume))
        }
        None => newest(config, layout, present),
    }
}

/// The same, once the mirror was read. Where the newest checkpoints on disk are damaged, and the mirror has
/// newer ones than what is whole on disk, they are downloaded. `present` is listed again then.
pub(super) fn find_or_download(
    config: &TrainerConfig,
    layout: &RunLayout,
    elsewhere: &[PathBuf],
    present: &mut Catalog,
    mirror: &mut MirrorOfRun,
) -> Result<Option<ResumePoint>> {
    if mirror.has_downloaded() {
        *present = scan(layout, elsewhere)?;
    }
    let found = find(config, layout, present);
    let resumed = match &found {
        Ok(Some(resume)) if config.ckpt_path.as_deref() == Some("auto") => {
            Some(resume.metadata.checkpoint_timestamp)
        }
        Err(Error::NothingToResume { .. }) => None,
        Err(Error::Checkpoint(error)) if error.kind() == ErrorKind::Damaged => None,
        _ => return found,
    };
    if !mirror.replace_damaged(config, layout, present, resumed)? {
        return found;
    }
    *present = scan(layout, elsewhere)?;
    find(config, layout, present)
}

/// For a process that does not write, and so downloads nothing: that the mirror has no newer checkpoint of
/// the run than the disk. It would train another state than the process of rank 0, which downloads it.
///
/// # Errors
///
/// [`Error::Config`] where the mirror has a newer one, and [`Error::MirrorUnreadable`] where it cannot be
/// read, and the disk has nothing to resume from.
#[cfg(feature = "mirror")]
pub(super) fn check_mirror(config: &TrainerConfig, layout: &RunLayout, present: &Catalog) -> Result<()> {
    let resumes = matches!(config.ckpt_path.as_deref(), Some("auto" | "last" | "best"));
    let Some(settings) = config.mirror.as_ref().filter(|_| resumes) else { return Ok(()) };
    let address: MirrorAddress = settings.address.parse()?;
    let run_id = layout.run_id();
    let run = match Store::connect(&address).and_then(|store| MirroredRun::open(&store, run_id)) {
        Ok(run) => run,
        Err(source) if present.is_empty() => {
            return Err(Error::MirrorUnreadable { run_id: run_id.to_owned(), source });
        }
        // The process of rank 0 says it, and resumes from the disk.
        Err(_) => return Ok(()),
    };
    let finite = present.entries.iter().map(|entry| &entry.metadata).filter(|metadata| metadata.is_finite());
    let on_disk = finite.map(|metadata| metadata.checkpoint_timestamp).max();
    let in_mirror = run.checkpoints().iter().filter(|checkpoint| !checkpoint.non_finite);
    if in_mirror.map(|checkpoint| checkpoint.checkpoint_timestamp).max() <= on_disk {
        return Ok(());
    }
    let reason = format!(
        "it has a newer checkpoint of the run {run_id} than this process has on disk, and only the process of rank 0 downloads: start \
         this one again when that one has, on a disk that they share; or get a checkpoint with burn-ckpt cp, and give its path to \
         each process as ckpt_path"
    );
    Err(Error::config("mirror", reason))
}

/// For a loop that can only begin at an epoch: `resume`, or with `auto` the newest earlier checkpoint that
/// was saved at an epoch's end.
pub(crate) fn at_an_epoch(
    resume: ResumePoint,
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
) -> Result<ResumePoint> {
    let (path, epoch) = match begins_an_epoch(&resume) {
        Err(Error::MidEpoch { path, epoch, .. }) if config.ckpt_path.as_deref() == Some("auto") => {
            (path, epoch)
        }
        checked => return checked.map(|()| resume),
    };
    let mut skipped = vec![skip_mid_epoch(&path, epoch)];
    let older = present.entries.iter().rev().skip_while(|entry| entry.path != path).skip(1);
    let found = first_usable(older, &mut skipped, begins_an_epoch);
    found.ok_or_else(|| Error::NothingToResume { path: layout.checkpoint_dir(), skipped })
}

/// For `auto`, whose newest checkpoint was found to be damaged only when its state was restored: the newest
/// one before it. `skipped` has those that were found to be damaged then.
pub(super) fn before(
    damaged: &Path,
    at_an_epoch: bool,
    layout: &RunLayout,
    present: &Catalog,
    skipped: &mut Vec<SkippedCheckpoint>,
) -> Result<ResumePoint> {
    let older = present.entries.iter().rev().skip_while(|entry| entry.path != damaged).skip(1);
    let accepts = |resume: &ResumePoint| if at_an_epoch { begins_an_epoch(resume) } else { Ok(()) };
    // A fresh start would hide that these checkpoints exist.
    first_usable(older, skipped, accepts).ok_or_else(|| Error::NothingToResume {
        path: layout.checkpoint_dir(),
        skipped: std::mem::take(skipped),
    })
}

fn begins_an_epoch(resume: &ResumePoint) -> Result<()> {
    let Position { epoch, batches, trained, .. } = resume.state.position.next();
    if batches == 0 && !trained {
        return Ok(());
    }
    Err(Error::MidEpoch { path: resume.checkpoint.path().to_path_buf(), epoch, batches })
}

fn newest(config: &TrainerConfig, layout: &RunLayout, present: &Catalog) -> Result<Option<ResumePoint>> {
    let broken = present.broken.iter();
    let mut skipped: Vec<_> = broken
        .map(|(path, error)| skip(path, error.kind(), Remedy::of(error.kind()), &chain(error)))
        .collect();
    if let Some(resume) = first_usable(present.entries.iter().rev(), &mut skipped, |_| Ok(())) {
        return Ok(Some(resume));
    }
    let unseen = links_to_missing_directories(layout)?;
    if skipped.is_empty() && unseen.is_empty() {
        return Ok(None);
    }
    if !unseen.is_empty() {
        // They are behind these links, on a disk that is not mounted: the new run would replace what is left.
        skipped.extend(unseen.iter().map(|(link, directory)| skip_link(link, directory)));
        return Err(Error::NothingToResume { path: layout.checkpoint_dir(), skipped });
    }
    let has_only_weights =
        present.broken.is_empty() && present.entries.iter().all(|entry| has_weights_alone(&entry.path));
    if has_only_weights && saves_whole_states(config) {
        // Of a state that is saved whole and as weights, the weights come first: a kill may have come in
        // between.
        let count = present.entries.len();
        warn(&format!(
            "{} has checkpoints of weights alone ({count}), which cannot be resumed: the run starts from the beginning, and they stay until \
             their strategies have better ones",
            layout.checkpoint_dir().display()
        ));
        return Ok(None);
    }
    // A fresh start would hide that these checkpoints exist.
    Err(Error::NothingToResume { path: layout.checkpoint_dir(), skipped })
}

/// Whether a strategy of the configuration saves states that can be resumed.
fn saves_whole_states(config: &TrainerConfig) -> bool {
    // Those of on_exception come from failures alone.
    let is_regular = |strategy: &&StrategyConfig| !matches!(strategy, StrategyConfig::OnException(_));
    config.effective_strategies().iter().filter(is_regular).any(|strategy| !strategy.files().weights_only)
}

fn has_weights_alone(path: &Path) -> bool {
    Checkpoint::open(path).is_ok_and(|checkpoint| !checkpoint.has_section(Section::OPTIMIZER))
}

/// The first checkpoint that is finite, valid and accepted. Reports why the others are skipped.
pub(crate) fn first_usable<'a>(
    entries: impl Iterator<Item = &'a CatalogEntry>,
    skipped: &mut Vec<SkippedCheckpoint>,
    accepts: impl Fn(&ResumePoint) -> Result<()>,
) -> Option<ResumePoint> {
    for entry in entries {
        if let Some(found) = entry.metadata.found_non_finite() {
            let reason = format!("it has {found}; to resume from it all the same, name it as ckpt_path");
            skipped.push(skip(&entry.path, ErrorKind::Other, Remedy::NameIt, &reason));
            continue;
        }
        match ResumePoint::open(&entry.path).and_then(|resume| accepts(&resume).map(|()| resume)) {
            Ok(resume) => return Some(resume),
            // A checkpoint with weights alone is not worth a warning.
            Err(Error::Checkpoint(error @ burn_ckpt::Error::MissingSection { .. })) => {
                let (path, kind, reason) = (entry.path.clone(), error.kind(), chain(&error));
                skipped.push(SkippedCheckpoint { path, kind, reason, remedy: Remedy::InitFrom });
            }
            Err(Error::MidEpoch { path, epoch, .. }) => skipped.push(skip_mid_epoch(&path, epoch)),
            Err(error) => skipped.push(skip_for(&entry.path, &error)),
        }
    }
    None
}

/// Reports that a checkpoint from within an epoch is skipped. The text of [`Error::MidEpoch`] is for a user
/// who named it.
fn skip_mid_epoch(path: &Path, epoch: u64) -> SkippedCheckpoint {
    let number = epoch + 1;
    let reason =
        format!("it was saved within epoch {number} (counted from 1), where only Trainer::fit can resume");
    skip(path, ErrorKind::Mismatch, Remedy::FinishEpoch, &reason)
}

/// Reports that a checkpoint is skipped for an error.
pub(super) fn skip_for(path: &Path, error: &Error) -> SkippedCheckpoint {
    let kind = match error {
        Error::Checkpoint(error) => error.kind(),
        // It is valid.
        _ => ErrorKind::Mismatch,
    };
    skip(path, kind, Remedy::of(kind), &chain(error))
}

fn skip_link(link: &Path, directory: &Path) -> SkippedCheckpoint {
    let reason = format!(
        "it leads into {}, which is not there: mount it, or remove the link if that is gone for good",
        directory.display()
    );
    skip(link, ErrorKind::NotFound, Remedy::Mount, &reason)
}

fn skip(path: &Path, kind: ErrorKind, remedy: Remedy, reason: &str) -> SkippedCheckpoint {
    SkippedCheckpoint { path: path.to_path_buf(), kind, reason: report_skipped(path, &reason), remedy }
}

/// The checkpoint that "best" names.
///
/// # Errors
///
/// [`Error::Checkpoint`] when there is none.
pub(crate) fn best(config: &TrainerConfig, layout: &RunLayout) -> Result<PathBuf> {
    match config.best_metric(split_name).map(|metric| resolve(layout, "best", Some(&metric))) {
        Some(Ok(path)) => Ok(path),
        // Else the only link there is.
        _ => Ok(resolve(layout, "best", None)?),
    }
}
