//! The moments at which runs are killed: drawn by chance, from kinds that between them hit every phase of a
//! run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_DIR, LAST_DIR};
use serde_json::Value;

use crate::random::SplitMix64;
use crate::run_files::is_staging;

/// A save changes the directories some ten times: the moment may be any of these in any of a few saves.
const CHANGES: u64 = 30;
/// What comes after a change takes about as long: writing, syncing, renaming.
const AFTER_CHANGE: Duration = Duration::from_millis(3);
/// About as long as a validation takes.
const AFTER_VALIDATION: Duration = Duration::from_millis(20);

/// When to kill: so long after something has happened, from some step on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The step, so that the kills are spread over the whole run.
    pub(super) from: u64,
    pub(super) after: Happening,
    pub(super) delay: Duration,
}

/// What can be seen of a run from outside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    /// The program was started.
    Start,
    /// It has got to the step.
    Progress,
    /// So many times the names in the checkpoint directories have changed: a file is being written, is
    /// renamed, linked or removed.
    Changes(u64),
    /// The metrics of a validation have begun to be written.
    Validation,
}

/// How fast a program is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From its start to its first checkpoint.
    pub(super) start: Duration,
    /// An optimizer step, with its share of everything.
    pub(super) step: Duration,
}

impl Moment {
    /// For a run that has reached a step, and is killed within the next `steps` steps.
    pub(super) fn draw(random: &mut SplitMix64, pace: Pace, at: u64, steps: u64) -> Self {
        // What is waited for then takes some steps more.
        let from = at + 1 + random.below(steps * 2 / 3);
        let few = u32::try_from(steps / 3).unwrap_or(u32::MAX);
        match random.below(8) {
            0 => Self { from: 0, after: Happening::Start, delay: random.up_to(pace.start) },
            1 | 2 => {
                let delay = random.up_to(pace.step.saturating_mul(few));
                Self { from, after: Happening::Progress, delay }
            }
            3 | 4 => Self { from, after: Happening::Validation, delay: random.up_to(AFTER_VALIDATION) },
            _ => {
                let changes = 1 + random.below(CHANGES);
                // Half of them at once, where the next thing is a rename.
                let delay = if random.below(2) == 0 { Duration::ZERO } else { random.up_to(AFTER_CHANGE) };
                Self { from, after: Happening::Changes(changes), delay }
            }
        }
    }
}

/// In what a run was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It had done nothing yet: reading, tidying up, making the model.
    Starting,
    Step,
    Validation,
    /// A checkpoint was being written, whatever else was done meanwhile.
    Writing,
}

/// Observes a run from outside.
#[derive(Debug)]
pub(super) struct Watch {
    run_dir: PathBuf,
    since: SystemTime,
    /// What had been validated when the step was reached that a moment begins with.
    validated: Option<Option<u64>>,
    first_names: BTreeSet<String>,
    names: BTreeSet<String>,
    changes: u64,
}

impl Watch {
    /// Begins with what is there before the program is started.
    pub(super) fn new(run_dir: &Path) -> Self {
        let names = names(run_dir);
        Self {
            run_dir: run_dir.to_path_buf(),
            since: SystemTime::now(),
            validated: None,
            first_names: names.clone(),
            names,
            changes: 0,
        }
    }

    /// Whether what a moment waits for has happened since. To be asked again and again.
    pub(super) fn has_seen(&mut self, moment: Moment) -> bool {
        if self.validated.is_none() {
            if last_step(&self.run_dir) < moment.from {
                return false;
            }
            self.validated = Some(self.logged("valid"));
            self.names = names(&self.run_dir);
        }
        match moment.after {
            Happening::Start | Happening::Progress => true,
            Happening::Changes(wanted) => {
                let names = names(&self.run_dir);
                if names != self.names {
                    self.names = names;
                    self.changes += 1;
                }
                self.changes >= wanted
            }
            Happening::Validation => self.validated != Some(self.logged("valid")),
        }
    }

    /// As far as can be told from the files.
    pub(super) fn phase(&self) -> Phase {
        // A file that an earlier process left unfinished was there before.
        if names(&self.run_dir).difference(&self.first_names).any(|name| is_staging(name)) {
            return Phase::Writing;
        }
        let Some(epoch) = self.logged("train") else { return Phase::Starting };
        let validated = self.logged("valid") == Some(epoch) && last_epoch_done(&self.run_dir) != Some(epoch);
        if validated { Phase::Validation } else { Phase::Step }
    }

    /// The newest epoch, counted from 1, whose metrics of that split were written to since.
    fn logged(&self, split: &str) -> Option<u64> {
        let epochs = std::fs::read_dir(self.run_dir.join(split)).ok()?.filter_map(Result::ok);
        let written = |path: &Path| {
            std::fs::metadata(path)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| time >= self.since)
        };
        let epochs = epochs.filter_map(|epoch| {
            let number: u64 = epoch.file_name().to_str()?.strip_prefix("epoch-")?.parse().ok()?;
            let mut logs = std::fs::read_dir(epoch.path()).ok()?.filter_map(Result::ok);
            logs.any(|log| written(&log.path())).then_some(number)
        });
        epochs.max()
    }
}

/// The optimizer step of a run's last checkpoint, by its name; 0 where there is none.
pub(super) fn last_step(run_dir: &Path) -> u64 {
    let target = std::fs::read_link(last(run_dir)).ok();
    let name = target.as_deref().and_then(Path::to_str).unwrap_or_default();
    let digits = name.rsplit_once("step=").map_or("", |(_, rest)| rest);
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The epoch, counted from 1, that the last checkpoint has done to its end.
fn last_epoch_done(run_dir: &Path) -> Option<u64> {
    let state: Value = Checkpoint::open(last(run_dir)).ok()?.trainer_state().ok()?;
    (state["epoch_complete"] == true).then(|| state["epoch"].as_u64().map(|epoch| epoch + 1))?
}

fn last(run_dir: &Path) -> PathBuf {
    run_dir.join(CHECKPOINT_DIR).join("last.ckpt")
}

/// The names in the checkpoint directories at this moment. Files may come and go while they are listed.
fn names(run_dir: &Path) -> BTreeSet<String> {
    let directories = ["", BEST_DIR, LAST_DIR].map(|name| run_dir.join(CHECKPOINT_DIR).join(name));
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path().display().to_string()).collect()
}
