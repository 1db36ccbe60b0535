//! Which checkpoints each strategy of a run keeps at present, and what follows from a new one: links to move
//! and files to remove.
//!
//! The loop's thread reserves a path before a save. The writer's thread confirms it once the file is durable,
//! or forgets it when the save failed. A failed save removes no file. Neither does opening a run whose rules
//! may have changed. The checkpoint that a run resumed from stays until a newer one that can be resumed is
//! durable.
//!
//! Whether a state is finite is known when it is written. One that is not pushes out no other: see `ranked`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::disk::directories::real_path_if_there;
use crate::error::{Error, Result};
use crate::retention::versions::Versions;
use crate::retention::{Candidate, KeepRule};

mod ranked;
mod unverified;

pub use ranked::SavedCheckpoint;
use ranked::{Entry, RankedCheckpoints};
pub use unverified::FileDigests;
use unverified::UnverifiedCheckpoints;

/// The checkpoints of a run by the strategies that keep them.
#[derive(Debug, Default)]
pub struct Ledger {
    strategies: IndexMap<String, RankedCheckpoints>,
    next_order: u64,
    versions: Versions,
    /// The checkpoint that the run resumed from, as long as nothing newer can be resumed.
    resumed_from: Option<PathBuf>,
    /// Whether no file is removed until something new is durable.
    delays_removals: bool,
    /// Files that no strategy keeps, and that are not removed yet.
    unwanted: Vec<PathBuf>,
    /// Files that were removed, until they are taken.
    removed: Vec<PathBuf>,
    /// Checkpoints of earlier starts that count once their bytes are verified.
    unverified: UnverifiedCheckpoints,
}

/// Whether a strategy would keep a new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WouldKeep {
    /// It would.
    Yes,
    /// Only if the better states that are being written at the moment fail.
    UnlessOthersAreSaved,
    /// It would not.
    No,
}

/// A path that a strategy needs for a state, and how the strategy ranks the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// The strategy's name, as it was registered.
    pub strategy: String,
    /// The directory.
    pub directory: PathBuf,
    /// The file name without ending.
    pub stem: String,
    /// The number of optimizer steps done.
    pub step: u64,
    /// The score; NaN where the strategy has none.
    pub score: f64,
}

/// What follows from the rules, in this order: links to move, then files to remove.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RetentionChanges {
    /// Each link with the checkpoint that it is to point to.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    pub(crate) remove: Vec<PathBuf>,
}

impl Ledger {
    /// Adds a strategy under a name of its own, with the link to its best or newest checkpoint, and the
    /// checkpoints that it has already, oldest first.
    pub fn register(
        &mut self,
        strategy: impl Into<String>,
        keep: KeepRule,
        link: Option<PathBuf>,
        present: impl IntoIterator<Item = SavedCheckpoint>,
    ) {
        let entry = |saved| Entry { saved, order: self.take_order(), durable: true };
        let entries = present.into_iter().map(entry).collect();
        self.strategies
            .insert(strategy.into(), RankedCheckpoints { keep, link, link_is_held_before: 0, entries });
    }

    /// Makes a registered checkpoint count only once its bytes are compared with its digests. Until then it
    /// is treated as one that is being written: it pushes out no other, is not removed, and keeps a link that
    /// leads to it.
    pub fn verify_later(&mut self, path: &Path, files: FileDigests) {
        let mut is_known = false;
        for entry in self.entries_of(path) {
            (entry.durable, is_known) = (false, true);
        }
        if is_known {
            self.unverified.add(path, files);
        }
    }

    /// The checkpoints that are not verified yet.
    pub fn unverified(&self) -> impl Iterator<Item = &Path> {
        self.unverified.paths()
    }

    /// The next checkpoint to verify, with its digests. Not one that could not be read since
    /// [`retry_unread`](Self::retry_unread) was called last.
    pub(crate) fn next_unverified(&self) -> Option<(PathBuf, FileDigests)> {
        self.unverified.next()
    }

    /// Notes what the verification of a checkpoint came to. A damaged one counts no more, and its file stays.
    /// One that cannot be read now stays unverified.
    pub(crate) fn note_verified(&mut self, path: &Path, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.unverified.note_whole(path);
                self.entries_of(path).for_each(|entry| entry.durable = true);
            }
            Err(error) => {
                if self.unverified.note_error(path, error) {
                    self.forget(&[path.to_path_buf()]);
                }
            }
        }
    }

    /// Lets the checkpoints that could not be read be verified again.
    pub(crate) fn retry_unread(&mut self) {
        self.unverified.retry();
    }

    /// The checkpoints that were found to be damaged since the last call, each with the error.
    pub fn take_damaged(&mut self) -> Vec<(PathBuf, Error)> {
        self.unverified.take_damaged()
    }

    /// The checkpoints that could not be read for their verification for the first time since the last call,
    /// each with the error. They are tried again.
    pub fn take_unread(&mut self) -> Vec<(PathBuf, Error)> {
        self.unverified.take_unread()
    }

    /// Whether it depends on checkpoints that are not verified yet whether a strategy keeps the state under
    /// this path.
    pub(crate) fn depends_on_unverified(&self, path: &Path) -> bool {
        self.strategies.values().any(|strategy| {
            let mut reserved = strategy.entries.iter().filter(|entry| entry.saved.path == path);
            reserved.any(|entry| {
                let keeps =
                    |others: &[&Entry]| strategy.would_keep(others.iter().copied(), entry.candidate());
                let durable: Vec<&Entry> = strategy.durable().collect();
                keeps(&durable) && !keeps(&strategy.durable_or(|path| self.unverified.have(path)))
            })
        })
    }

    /// Leaves a strategy's link where it is until a new state is the strategy's first: it leads to a
    /// checkpoint that cannot be read now, of which it is not known how it ranks.
    pub fn hold_link(&mut self, strategy: &str) {
        let next = self.next_order;
        if let Some(strategy) = self.strategies.get_mut(strategy) {
            strategy.link_is_held_before = next;
        }
    }

    /// Sets the checkpoint that the run resumed from. It stays until a newer state that can be resumed is
    /// durable.
    ///
    /// With `delays_removals`, all other files stay too until something new is durable: the rules may differ
    /// from those by which the files were kept, and opening a run without training must not remove any.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it cannot be found out which of the files it is: it would not be kept then.
    pub fn resume_from(&mut self, checkpoint: Option<&Path>, delays_removals: bool) -> Result<()> {
        (self.resumed_from, self.delays_removals) = (None, delays_removals);
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        // The same file may have been opened under another name of its directory.
        let Some(wanted) = real_path_if_there(checkpoint)? else { return Ok(()) };
        let mut found = None;
        for entry in self.entries_mut() {
            if real_path_if_there(&entry.saved.path)?.as_ref() == Some(&wanted) {
                found = Some(entry.saved.path.clone());
                break;
            }
        }
        self.resumed_from = found;
        Ok(())
    }

    /// Whether a checkpoint with this score would be kept if it were saved now.
    ///
    /// Not for a state that the strategy has already: a run that resumed from an older checkpoint computes
    /// the same states again, and a second file of one would push out another state.
    #[must_use]
    pub fn would_keep(&self, strategy: &str, step: u64, score: f64) -> WouldKeep {
        let Some(strategy) = self.strategies.get(strategy) else { return WouldKeep::No };
        let is_same_state = |saved: &SavedCheckpoint| {
            !score.is_nan() && (saved.step, saved.score.to_bits()) == (step, score.to_bits())
        };
        let new = Candidate { score, order: self.next_order };
        if strategy.entries.iter().any(|entry| is_same_state(&entry.saved)) {
            WouldKeep::No
        } else if strategy.would_keep(strategy.entries.iter(), new) {
            WouldKeep::Yes
        } else if strategy.would_keep(strategy.durable(), new) {
            WouldKeep::UnlessOthersAreSaved
        } else {
            WouldKeep::No
        }
    }

    /// Whether a strategy would still keep the state that is reserved under this path, now that others may
    /// have become durable.
    pub(crate) fn is_still_wanted(&self, path: &Path) -> bool {
        self.strategies.values().any(|strategy| {
            let mut reserved = strategy.entries.iter().filter(|entry| entry.saved.path == path);
            reserved.any(|entry| strategy.would_keep(strategy.durable(), entry.candidate()))
        })
    }

    /// Whether the checkpoint under this path is durable and a strategy keeps it.
    #[must_use]
    pub fn is_durable(&self, path: &Path) -> bool {
        let mut entries = self.strategies.values().flat_map(|strategy| &strategy.entries);
        entries.any(|entry| entry.durable && entry.saved.path == path)
    }

    /// Reserves paths for one state. Returns them in the order of the reservations.
    ///
    /// Two strategies with the same directory and name share the file. A name that another state has or had
    /// gets the next number, `-v1`, `-v2`, ..: no checkpoint is overwritten, and a later state has a higher
    /// number.
    pub fn reserve(&mut self, reservations: &[Reservation]) -> Vec<PathBuf> {
        let mut reserved: Vec<PathBuf> = Vec::with_capacity(reservations.len());
        let order = self.take_order();
        for (position, wanted) in reservations.iter().enumerate() {
            let shared = reservations[..position]
                .iter()
                .position(|other| (&other.directory, &other.stem) == (&wanted.directory, &wanted.stem));
            let path = match shared {
                Some(other) => reserved[other].clone(),
                None => self.versions.next_path(&wanted.directory, &wanted.stem, &reserved),
            };
            if let Some(strategy) = self.strategies.get_mut(&wanted.strategy) {
                let saved = SavedCheckpoint::new(path.clone(), wanted.step, wanted.score);
                strategy.entries.push(Entry { saved, order, durable: false });
            }
            reserved.push(path);
        }
        reserved
    }

    /// Reserves the next number of a reserved name that another run has taken meanwhile. `None` for a name
    /// that is not reserved.
    pub(crate) fn rename(&mut self, taken: &Path) -> Option<PathBuf> {
        let next = self.versions.rename(taken)?;
        let reserved = self.entries_of(taken).filter(|entry| !entry.durable);
        reserved.for_each(|entry| entry.saved.path.clone_from(&next));
        Some(next)
    }

    /// The name that a state has which was reserved under this path.
    #[must_use]
    pub fn name_of(&self, reserved: &Path) -> PathBuf {
        self.versions.name_of(reserved)
    }

    /// Whether a new state replaces a waiting one: every strategy that wants `waiting` wants `new` too, and
    /// ranks it higher.
    pub(crate) fn supersedes(&self, new: &[PathBuf], waiting: &[PathBuf]) -> bool {
        self.strategies.values().all(|strategy| {
            let among = |paths: &[PathBuf]| -> Vec<Candidate> {
                let entries = strategy.entries.iter().filter(|entry| paths.contains(&entry.saved.path));
                entries.map(Entry::candidate).collect()
            };
            let new = among(new);
            let outranked =
                |waiting: &Candidate| new.iter().any(|new| strategy.keep.ranks_before(new, waiting));
            among(waiting).iter().all(outranked)
        })
    }

    /// The best (or newest) durable checkpoint of a strategy. It can be one that is [not
    /// verified](Self::unverified) yet.
    #[must_use]
    pub fn top_ranked(&self, strategy: &str) -> Option<&SavedCheckpoint> {
        let strategy = self.strategies.get(strategy)?;
        let durable = strategy.durable_or(|path| self.unverified.have(path));
        Some(&strategy.first_of(&durable)?.saved)
    }

    /// Marks a reserved checkpoint as durable. `resumable`: a run can resume from it, as it has more than
    /// weights.
    pub(crate) fn confirm(&mut self, path: &Path, resumable: bool) {
        self.delays_removals = false;
        self.versions.settle(path);
        if resumable {
            self.resumed_from = None;
        }
        for entry in self.entries_of(path) {
            entry.durable = true;
        }
    }

    /// Marks a reserved checkpoint as durable whose state is not finite: no run should resume from it, so it
    /// lets no other go.
    pub(crate) fn confirm_non_finite(&mut self, path: &Path) {
        self.versions.settle(path);
        for entry in self.entries_of(path) {
            (entry.durable, entry.saved.is_finite) = (true, false);
        }
    }

    /// Drops reservations whose files were not written.
    pub(crate) fn forget(&mut self, paths: &[PathBuf]) {
        paths.iter().for_each(|path| self.versions.settle(path));
        for strategy in self.strategies.values_mut() {
            strategy.entries.retain(|entry| entry.durable || !paths.contains(&entry.saved.path));
        }
    }

    /// Applies every strategy's rule to its durable checkpoints. A file stays if another strategy keeps it,
    /// if the run resumed from it, or while removals are delayed. A file that is to be removed is named again
    /// by each call until [`note_removed`](Self::note_removed) is called.
    pub(crate) fn apply_rules(&mut self) -> RetentionChanges {
        let mut changes = RetentionChanges::default();
        let mut evicted = Vec::new();
        let (resumed_from, delays_removals) = (self.resumed_from.clone(), self.delays_removals);
        for strategy in self.strategies.values_mut() {
            let durable = strategy.candidates();
            let ranked = strategy.keep.kept(&durable);
            let order_of = |place: &usize| durable[*place].order;
            let first = ranked.first().map(order_of);
            let kept: HashSet<u64> = ranked.iter().map(order_of).collect();
            let first = strategy.entries.iter().find(|entry| entry.durable && first == Some(entry.order));
            // A link that leads to a better one, which is not verified yet, stays there.
            let leading = strategy.first_of(&strategy.durable_or(|path| self.unverified.have(path)));
            let is_verified = leading.is_none_or(|entry| entry.durable);
            let moves = |entry: &&Entry| is_verified && entry.order >= strategy.link_is_held_before;
            if let (Some(link), Some(entry)) = (&strategy.link, first.filter(moves)) {
                changes.links.push((link.clone(), entry.saved.path.clone()));
            }
            strategy.entries.retain(|entry| {
                let is_protected = delays_removals || resumed_from.as_ref() == Some(&entry.saved.path);
                let stays = is_protected || !entry.durable || kept.contains(&entry.order);
                if !stays {
                    evicted.push(entry.saved.path.clone());
                }
                stays
            });
        }
        for path in evicted {
            let is_kept_by_another = self.entries_mut().any(|entry| entry.saved.path == path);
            if !is_kept_by_another && !self.unwanted.contains(&path) {
                self.unwanted.push(path);
            }
        }
        changes.remove.clone_from(&self.unwanted);
        changes
    }

    /// Notes that files are removed.
    pub(crate) fn note_removed(&mut self, paths: &[PathBuf]) {
        self.unwanted.retain(|path| !paths.contains(path));
        self.removed.extend_from_slice(paths);
    }

    /// The files that were removed since the last call, as no strategy keeps them.
    pub fn take_removed(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.removed)
    }

    /// Those of one checkpoint, in each strategy that has it.
    fn entries_of(&mut self, path: &Path) -> impl Iterator<Item = &mut Entry> {
        self.entries_mut().filter(move |entry| entry.saved.path == path)
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.strategies.values_mut().flat_map(|strategy| strategy.entries.iter_mut())
    }

    fn take_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }
}

#[cfg(test)]
mod tests;
