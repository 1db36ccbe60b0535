//! Which checkpoints each strategy of a run holds at present, and what follows from a new one: the links to move
//! and the files to remove.
//!
//! The loop's thread reserves a place before a save, the writer's thread confirms it once the file is durable. A
//! save that failed is forgotten again, and gives no reason to remove anything.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::layout::{CHECKPOINT_SUFFIX, metadata_path};
use crate::retention::{Candidate, Keep};

/// The checkpoints of a run by the strategies that keep them.
#[derive(Debug, Default)]
pub struct Ledger {
    keepers: IndexMap<String, Keeper>,
    next_order: u64,
}

/// One checkpoint as a strategy sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// The score that the strategy ranks it by; NaN where it has none.
    pub score: f64,
}

#[derive(Debug)]
struct Keeper {
    keep: Keep,
    link: Option<PathBuf>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    held: Held,
    order: u64,
    durable: bool,
}

/// What a strategy wants for a state: where it goes, and how it ranks there.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The strategy's name, as it was registered.
    pub keeper: String,
    /// The directory.
    pub directory: PathBuf,
    /// The file name without ending.
    pub stem: String,
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
        keep: Keep,
        link: Option<PathBuf>,
        present: impl IntoIterator<Item = Held>,
    ) {
        let entries =
            present.into_iter().map(|held| Entry { held, order: self.take_order(), durable: true }).collect();
        self.keepers.insert(keeper.into(), Keeper { keep, link, entries });
    }

    /// Whether a checkpoint with this score would stay, were it saved now.
    #[must_use]
    pub fn would_keep(&self, keeper: &str, score: f64) -> bool {
        self.keepers.get(keeper).is_some_and(|keeper| {
            let present: Vec<Candidate> = keeper.entries.iter().map(Entry::candidate).collect();
            keeper.keep.would_keep(&present, Candidate { score, order: self.next_order })
        })
    }

    /// Reserves places for one state. Returns the paths in the order of the wishes.
    ///
    /// Two strategies with the same directory and name share the file. A name that stands for another state
    /// already gets `-v1`, `-v2`, .. after it, as nothing is ever overwritten.
    pub fn reserve(&mut self, wishes: &[Wish]) -> Vec<PathBuf> {
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
                let held = Held { path: path.clone(), score: wish.score };
                keeper.entries.push(Entry { held, order, durable: false });
            }
            reserved.push(path);
        }
        reserved
    }

    /// The best (or newest) durable checkpoint of a strategy.
    #[must_use]
    pub fn foremost(&self, keeper: &str) -> Option<&Held> {
        let keeper = self.keepers.get(keeper)?;
        let durable = keeper.durable();
        let first =
            *keeper.keep.kept(&durable.iter().map(|entry| entry.candidate()).collect::<Vec<_>>()).first()?;
        Some(&durable[first].held)
    }

    /// Marks a reserved checkpoint as whole on disk.
    pub(crate) fn confirm(&mut self, path: &Path) {
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
    /// not removed.
    pub(crate) fn settle(&mut self) -> Consequences {
        let mut consequences = Consequences::default();
        let mut evicted = Vec::new();
        for keeper in self.keepers.values_mut() {
            let durable: Vec<Candidate> = keeper.durable().iter().map(|entry| entry.candidate()).collect();
            let stay: Vec<u64> = keeper.keep.kept(&durable).into_iter().map(|i| durable[i].order).collect();
            let foremost =
                keeper.entries.iter().find(|entry| entry.durable && stay.first() == Some(&entry.order));
            if let (Some(link), Some(entry)) = (&keeper.link, foremost) {
                consequences.links.push((link.clone(), entry.held.path.clone()));
            }
            keeper.entries.retain(|entry| {
                let stays = !entry.durable || stay.contains(&entry.order);
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
mod tests {
    use super::*;
    use crate::retention::{Mode, TopK};

    fn ledger(k: usize) -> Ledger {
        let mut ledger = Ledger::default();
        let keep = Keep::Best(Mode::Min, TopK::count(k).unwrap());
        ledger.register("best", keep, Some(PathBuf::from("best.ckpt")), []);
        ledger
    }

    fn wish(keeper: &str, stem: &str, score: f64) -> Wish {
        let directory = PathBuf::from("no-such-directory");
        Wish { keeper: keeper.to_owned(), directory, stem: stem.to_owned(), score }
    }

    fn reserve(ledger: &mut Ledger, stem: &str, score: f64) -> PathBuf {
        ledger.reserve(&[wish("best", stem, score)]).remove(0)
    }

    #[test]
    fn a_failed_save_removes_nothing() {
        let mut ledger = ledger(1);
        let old = reserve(&mut ledger, "old", 2.0);
        ledger.confirm(&old);
        assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new());

        let failed = reserve(&mut ledger, "new", 1.0);
        ledger.forget(&[failed]);
        let consequences = ledger.settle();
        assert_eq!(consequences.remove, Vec::<PathBuf>::new());
        assert_eq!(consequences.links, [(PathBuf::from("best.ckpt"), old)]);
    }

    #[test]
    fn the_older_file_goes_once_the_better_one_is_durable() {
        let mut ledger = ledger(1);
        let old = reserve(&mut ledger, "old", 2.0);
        ledger.confirm(&old);
        let new = reserve(&mut ledger, "new", 1.0);
        assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new(), "while it is being written");
        ledger.confirm(&new);
        let consequences = ledger.settle();
        assert_eq!(consequences.links, [(PathBuf::from("best.ckpt"), new)]);
        assert_eq!(consequences.remove, [old]);
    }

    #[test]
    fn a_file_that_two_strategies_hold_goes_with_the_second() {
        let mut ledger = ledger(1);
        ledger.register("best too", Keep::Best(Mode::Max, TopK::count(1).unwrap()), None, []);
        let shared = ledger.reserve(&[wish("best", "a", 1.0), wish("best too", "a", 1.0)]);
        assert_eq!(shared[0], shared[1]);
        ledger.confirm(&shared[0]);
        ledger.settle();

        let lower = ledger.reserve(&[wish("best", "b", 0.5)]);
        ledger.confirm(&lower[0]);
        assert_eq!(ledger.settle().remove, Vec::<PathBuf>::new());
        let higher = ledger.reserve(&[wish("best too", "c", 2.0)]);
        ledger.confirm(&higher[0]);
        assert_eq!(ledger.settle().remove, [shared[0].clone()]);
    }

    #[test]
    fn a_name_in_use_gets_a_version() {
        let mut ledger = ledger(3);
        assert!(reserve(&mut ledger, "a", 1.0).ends_with("a.ckpt"));
        assert!(reserve(&mut ledger, "a", 2.0).ends_with("a-v1.ckpt"));
        assert!(reserve(&mut ledger, "a", 3.0).ends_with("a-v2.ckpt"));
    }
}
