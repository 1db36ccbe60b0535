//! What a run that goes on finds of its own: what each strategy holds, what a kill kept from it, and whether the rules
//! are still those by which it was kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{SavedCheckpoint, name_again, sha256_of_file};
use burn_ckpt::retention::{Candidate, KeepRule};
use burn_ckpt::{Catalog, CatalogEntry, Checkpoint, RunLayout};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Deserialize;

use crate::config::TrainerConfig;
use crate::run::resume::{Resume, passed};

/// What there is before the first save. The default is that of a run that begins.
#[derive(Debug, Default)]
pub(crate) struct ExistingCheckpoints {
    /// By strategy, in the order in which they were saved.
    pub(crate) holdings: IndexMap<String, Vec<Holding>>,
    /// When the newest state was taken.
    pub(crate) newest: Option<Timestamp>,
    /// The checkpoint that is gone on from.
    pub(crate) origin: Option<PathBuf>,
    /// Whether the strategies may be others than those that kept all this.
    pub(crate) rules_differ: bool,
}

/// A checkpoint that was saved for a strategy.
#[derive(Debug)]
pub(crate) struct Holding {
    held: SavedCheckpoint,
    missing: Option<Missing>,
}

/// A name that is not there, although the state is.
#[derive(Debug)]
struct Missing {
    /// The state under another name.
    state: PathBuf,
    reason: String,
}

/// The part of a trainer's state that says for whom it was saved.
#[derive(Debug, Deserialize)]
struct SavedFor {
    saved_for: IndexMap<String, String>,
    #[serde(with = "burn_ckpt::plumbing::numbers")]
    scores: IndexMap<String, f64>,
    /// Not in checkpoints of earlier versions.
    #[serde(default)]
    reasons: IndexMap<String, String>,
}

impl ExistingCheckpoints {
    /// Looks at a run's checkpoints. Each says which strategies it was saved for. A damaged one counts for none: it must
    /// not be the best, nor take a whole one's place. So all of them are read. `complete`: the configuration names every
    /// strategy.
    pub(crate) fn look(
        config: &TrainerConfig,
        layout: &RunLayout,
        present: &Catalog,
        resume: &Resume,
        complete: bool,
    ) -> Self {
        let (origin, metadata) = (resume.checkpoint.path(), &resume.metadata);
        let rules = |config: &TrainerConfig| {
            let config = config.spelled_out();
            (config.primary_metric, config.strategies)
        };
        let then = serde_json::from_value::<TrainerConfig>(metadata.trainer_config.clone()).ok();
        let mut digests = Digests::default();
        // It has just been verified.
        digests.note(origin, metadata.checkpoint_checksum.clone());
        Self {
            holdings: holdings(layout, present, &mut digests),
            newest: present.entries.iter().map(|entry| entry.metadata.checkpoint_timestamp).max(),
            origin: Some(origin.to_path_buf()),
            rules_differ: !complete || then.as_ref().map(rules) != Some(rules(config)),
        }
    }

    /// What a strategy holds, oldest first, after giving names again that a kill between two names of one state kept
    /// from being given. One that the strategy's rule has let go stays gone.
    pub(crate) fn take(&mut self, strategy: &str, keep: KeepRule, directory: &Path) -> Vec<SavedCheckpoint> {
        let mut found = self.holdings.shift_remove(strategy).unwrap_or_default();
        // What a checkpoint says is not to lead anywhere else.
        found.retain(|holding| holding.missing.is_none() || holding.held.path.parent() == Some(directory));
        let candidates: Vec<Candidate> = (0..)
            .zip(&found)
            .map(|(order, Holding { held, .. })| Candidate { score: held.score, order })
            .collect();
        let kept = keep.kept(&candidates);
        let there = found.into_iter().enumerate().filter_map(|(position, Holding { held, missing })| {
            let Some(Missing { state, reason }) = missing else { return Some(held) };
            if !kept.contains(&position) {
                return None;
            }
            match name_again(&state, &held.path, &reason) {
                Ok(()) => {
                    log::info!("{} was missing and is there again", held.path.display());
                    Some(held)
                }
                Err(error) => {
                    log::warn!("{} is missing: {error}", held.path.display());
                    None
                }
            }
        });
        there.collect()
    }
}

fn holdings(layout: &RunLayout, present: &Catalog, digests: &mut Digests) -> IndexMap<String, Vec<Holding>> {
    let mut holdings: IndexMap<String, Vec<Holding>> = IndexMap::new();
    let directory = layout.checkpoint_dir();
    for entry in &present.entries {
        let saved = match checked(entry, digests) {
            Ok(saved) => saved,
            Err(error) => {
                passed(&entry.path, &error);
                continue;
            }
        };
        // A copy that somebody made, or that came from another run, is nobody's.
        let is_own = entry.metadata.run_id == layout.run_id()
            && saved.saved_for.values().any(|path| directory.join(path) == entry.path);
        for (strategy, path) in &saved.saved_for {
            let path = directory.join(path);
            // A state saved for two strategies is two files with one content; each stands for its own strategy.
            let missing = if path == entry.path {
                None
            } else if is_own && path.symlink_metadata().is_err() {
                let kind = || strategy.split(':').next().unwrap_or_default().to_owned();
                let reason = saved.reasons.get(strategy).cloned().unwrap_or_else(kind);
                Some(Missing { state: entry.path.clone(), reason })
            } else {
                continue;
            };
            let list = holdings.entry(strategy.clone()).or_default();
            // Missing under one name, and known from two others.
            list.retain(|other| other.held.path != path);
            let (step, score) = (entry.metadata.global_step, saved.scores.get(strategy).copied());
            list.push(Holding {
                held: SavedCheckpoint { path, step, score: score.unwrap_or(f64::NAN) },
                missing,
            });
        }
    }
    holdings
}

fn checked(entry: &CatalogEntry, digests: &mut Digests) -> burn_ckpt::Result<SavedFor> {
    let checkpoint = Checkpoint::open(&entry.path)?;
    let (expected, found) = (&entry.metadata.checkpoint_checksum, digests.of(&entry.path)?);
    if found != *expected {
        let (path, expected) = (entry.path.clone(), expected.clone());
        return Err(burn_ckpt::Error::Checksum { path, expected, found });
    }
    checkpoint.trainer_state()
}

/// SHA-256 digests of files, each computed once however many names the file has.
#[derive(Debug, Default)]
struct Digests(HashMap<FileId, String>);

#[cfg(unix)]
type FileId = (u64, u64);
#[cfg(not(unix))]
type FileId = PathBuf;

impl Digests {
    fn note(&mut self, path: &Path, digest: String) {
        if let Some(id) = file_id(path) {
            self.0.insert(id, digest);
        }
    }

    fn of(&mut self, path: &Path) -> burn_ckpt::Result<String> {
        if let Some(known) = file_id(path).and_then(|id| self.0.get(&id)) {
            return Ok(known.clone());
        }
        let digest = sha256_of_file(path)?;
        self.note(path, digest.clone());
        Ok(digest)
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path) -> Option<FileId> {
    std::fs::canonicalize(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_with_two_names_is_read_once() {
        let directory = std::env::temp_dir().join(format!("burn-trainer-digests-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let [first, second, other] = ["first", "second", "other"].map(|name| directory.join(name));
        std::fs::write(&first, "a state").unwrap();
        std::fs::hard_link(&first, &second).unwrap();
        let mut digests = Digests::default();
        let digest = digests.of(&first).unwrap();
        // Would it be read again, this would show.
        std::fs::write(&first, "another").unwrap();
        std::fs::write(&other, "another").unwrap();
        let found = (digests.of(&second).unwrap(), digests.of(&other).unwrap());
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.0, digest);
        assert_ne!(found.1, digest);
    }
}
