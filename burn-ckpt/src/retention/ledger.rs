//! Which checkpoints each strategy of a run holds at present, and what follows from a new one: the links to move
//! and the files to remove.
//!
//! The loop's thread reserves a place before a save, the writer's thread confirms it once the file is durable. A
//! save that failed is forgotten again, and gives no reason to remove anything. Neither does opening a run whose rules
//! may have changed, and what a run goes on from stays until there is something newer to go on from.

use std::fs;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::file_names::{CHECKPOINT_SUFFIX, metadata_path};
use crate::retention::{Candidate, KeepRule};

/// The checkpoints of a run by the strategies that keep them.
#[derive(Debug, Default)]
pub struct Ledger {
    keepers: IndexMap<String, Keeper>,
    next_order: u64,
    /// What the run goes on from.
    origin: Option<PathBuf>,
    /// Whether nothing goes before something new is durable.
    waits: bool,
}

/// One checkpoint as a strategy sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedCheckpoint {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// The number of optimizer steps done.
    pub step: u64,
    /// The score that the strategy ranks it by; NaN where it has none.
    pub score: f64,
}

#[derive(Debug)]
struct Keeper {
    keep: KeepRule,
    link: Option<PathBuf>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    held: SavedCheckpoint,
    order: u64,
    durable: bool,
}

/// What a strategy wants for a state: where it goes, and how it ranks there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    /// The strategy's name, as it was registered.
    pub keeper: String,
    /// The directory.
    pub directory: PathBuf,
    /// The file name without ending.
    pub stem: String,
    /// The number of optimizer steps done.
    pub step: u64,
    /// The score; NaN where the strategy has none.
    pub score: f64,
}

/// What is to be done, in this order: move the links, then remove the files.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Consequences {
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    pub(crate) remove: Vec<PathBuf>,
}

impl Ledger {
    /// Adds a strategy under a name of its own, with the link that names its foremost checkpoint and the
    /// checkpoints it holds from before, oldest first.
    pub fn register(
        &mut self,
        keeper: impl Into<String>,
        keep: KeepRule,
        link: Option<PathBuf>,
        present: impl IntoIterator<Item = SavedCheckpoint>,
    ) {
        let entries =
            present.into_iter().map(|held| Entry { held, order: self.take_order(), durable: true }).collect();
        self.keepers.insert(keeper.into(), Keeper { keep, link, entries });
    }

    /// Says what the run goes on from, which stays until a newer state that can be gone on from is durable. With
    /// `waits`, everything else stays too until something new is durable: the rules may not be those by which it was
    /// kept, and a run that is only looked at must not cost anything.
    pub fn goes_on_from(&mut self, origin: Option<&Path>, waits: bool) {
        // It may have been opened by another name of its directory.
        let same = |path: &Path| fs::canonicalize(path).ok();
        let wanted = origin.and_then(same);
        let found = wanted.and_then(|wanted| {
            let mut entries = self.entries_mut();
            entries
                .find(|entry| same(&entry.held.path).as_ref() == Some(&wanted))
                .map(|entry| entry.held.path.clone())
        });
        (self.origin, self.waits) = (found, waits);
    }

    /// Whether a checkpoint with this score would stay, were it saved now.
    ///
    /// A state that the strategy holds already (a run that went on from an older one comes by it again) is not worth a
    /// second file, which would take another one's place.
    #[must_use]
    pub fn would_keep(&self, keeper: &str, step: u64, score: f64) -> bool {
        self.keepers.get(keeper).is_some_and(|keeper| {
            let is_held = |held: &SavedCheckpoint| {
                !score.is_nan() && (held.step, held.score.to_bits()) == (step, score.to_bits())
            };
            if keeper.entries.iter().any(|entry| is_held(&entry.held)) {
                return false;
            }
            let present: Vec<Candidate> = keeper.entries.iter().map(Entry::candidate).collect();
            keeper.keep.would_keep(&present, Candidate { score, order: self.next_order })
        })
    }

    /// Reserves places for one state. Returns the paths in the order of the wishes.
    ///
    /// Two strategies with the same directory and name share the file. A name that stands for another state
    /// already gets `-v1`, `-v2`, .. after it, as nothing is ever overwritten.
    pub fn reserve(&mut self, wishes: &[Reservation]) -> Vec<PathBuf> {
        let mut reserved: Vec<PathBuf> = Vec::with_capacity(wishes.len());
        let order = self.take_order();
        for (position, wish) in wishes.iter().enumerate() {
            let twin = wishes[..position]
                .iter()
                .position(|other| (&other.directory, &other.stem) == (&wish.directory, &wish.stem));
            let path = match twin {
                Some(twin) => reserved[twin].clone(),
                None => self.free_path(&wish.directory, &wish.stem, &reserved),
            };
            if let Some(keeper) = self.keepers.get_mut(&wish.keeper) {
                let held = SavedCheckpoint { path: path.clone(), step: wish.step, score: wish.score };
                keeper.entries.push(Entry { held, order, durable: false });
            }
            reserved.push(path);
        }
        reserved
    }

    /// Whether a newer state makes one that waits superfluous: every strategy that wants `waiting` wants `new` too, and
    /// ranks it before that.
    pub(crate) fn supersedes(&self, new: &[PathBuf], waiting: &[PathBuf]) -> bool {
        self.keepers.values().all(|keeper| {
            let among = |paths: &[PathBuf]| -> Vec<Candidate> {
                let entries = keeper.entries.iter().filter(|entry| paths.contains(&entry.held.path));
                entries.map(Entry::candidate).collect()
            };
            let new = among(new);
            let beaten = |waiting: &Candidate| new.iter().any(|new| keeper.keep.ranks_before(new, waiting));
            among(waiting).iter().all(beaten)
        })
    }

    /// The best (or newest) durable checkpoint of a strategy.
    #[must_use]
    pub fn foremost(&self, keeper: &str) -> Option<&SavedCheckpoint> {
        let keeper = self.keepers.get(keeper)?;
        let durable = keeper.durable();
        let first =
            *keeper.keep.kept(&durable.iter().map(|entry| entry.candidate()).collect::<Vec<_>>()).first()?;
        Some(&durable[first].held)
    }

    /// Marks a reserved checkpoint as whole on disk. `resumable`: it can be gone on from.
    pub(crate) fn confirm(&mut self, path: &Path, resumable: bool) {
        self.waits = false;
        if resumable {
            self.origin = None;
        }
        for entry in self.entries_mut().filter(|entry| entry.held.path == path) {
            entry.durable = true;
        }
    }

    /// Drops reservations that came to nothing.
    pub(crate) fn forget(&mut self, paths: &[PathBuf]) {
        for keeper in self.keepers.values_mut() {
            keeper.entries.retain(|entry| entry.durable || !paths.contains(&entry.held.path));
        }
    }

    /// Applies every strategy's rule to its durable checkpoints. Files that another strategy still holds are
    /// not removed, nor is what has to stay for now.
    pub(crate) fn settle(&mut self) -> Consequences {
        let mut consequences = Consequences::default();
        let mut evicted = Vec::new();
        let (origin, waits) = (self.origin.clone(), self.waits);
        for keeper in self.keepers.values_mut() {
            let durable: Vec<Candidate> = keeper.durable().iter().map(|entry| entry.candidate()).collect();
            let stay: Vec<u64> = keeper.keep.kept(&durable).into_iter().map(|i| durable[i].order).collect();
            let foremost =
                keeper.entries.iter().find(|entry| entry.durable && stay.first() == Some(&entry.order));
            if let (Some(link), Some(entry)) = (&keeper.link, foremost) {
                consequences.links.push((link.clone(), entry.held.path.clone()));
            }
            keeper.entries.retain(|entry| {
                let has_to_stay = waits || origin.as_ref() == Some(&entry.held.path);
                let stays = has_to_stay || !entry.durable || stay.contains(&entry.order);
                if !stays {
                    evicted.push(entry.held.path.clone());
                }
                stays
            });
        }
        for path in evicted {
            let still_held = self.entries_mut().any(|entry| entry.held.path == path);
            if !still_held && !consequences.remove.contains(&path) {
                consequences.remove.push(path);
            }
        }
        consequences
    }

    fn free_path(&mut self, directory: &Path, stem: &str, reserved: &[PathBuf]) -> PathBuf {
        let mut path = directory.join(format!("{stem}{CHECKPOINT_SUFFIX}"));
        let mut version = 0;
        while reserved.contains(&path)
            || self.entries_mut().any(|entry| entry.held.path == path)
            || path.symlink_metadata().is_ok()
            || metadata_path(&path).symlink_metadata().is_ok()
        {
            version += 1;
            path = directory.join(format!("{stem}-v{version}{CHECKPOINT_SUFFIX}"));
        }
        path
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.keepers.values_mut().flat_map(|keeper| keeper.entries.iter_mut())
    }

    fn take_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }
}

impl Keeper {
    fn durable(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.durable).collect()
    }
}

impl Entry {
    fn candidate(&self) -> Candidate {
        Candidate { score: self.held.score, order: self.order }
    }
}

#[cfg(test)]
mod tests;
