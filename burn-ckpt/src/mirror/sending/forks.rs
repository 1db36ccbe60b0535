//! States of a mirror that are of another history than those on disk: the run resumed from an older state
//! while the mirror could not be read, or on another machine. They get a second name, which no later state
//! takes and no strategy's rule ranks. So they stay until a user deletes them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::Result;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::object_names::{evaluations, fork_name};
use crate::mirror::sending::run_mirror::RunMirror;
use crate::mirror::store::Listed;
use crate::run_dir::catalog::Catalog;
use crate::run_dir::evaluations::MAX_EVALUATION_BYTES;

/// The most names that are said.
const MAX_SHOWN: usize = 4;

/// The histories of a disk's checkpoints: each of their starts, with the step up to which its states led to
/// one of these checkpoints.
#[doc(hidden)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskHistory(BTreeMap<Timestamp, u64>);

impl DiskHistory {
    /// That of all checkpoints of a disk. Those that were not saved by a trainer have no starts.
    #[must_use]
    pub fn of(present: &Catalog) -> Self {
        let mut steps: BTreeMap<Timestamp, u64> = BTreeMap::new();
        for metadata in present.entries.iter().map(|entry| &entry.metadata) {
            let ends = metadata.starts.iter().skip(1).map(|next| next.global_step);
            for (start, end) in metadata.starts.iter().zip(ends.chain([metadata.global_step])) {
                let step = steps.entry(start.timestamp).or_default();
                *step = end.max(*step);
            }
        }
        Self(steps)
    }

    /// Whether a state is on the way to one of the disk's. One that no trainer has saved counts as such.
    fn has(&self, checkpoint: &MirroredCheckpoint) -> bool {
        checkpoint.start.is_none_or(|start| self.0.get(&start) >= Some(&checkpoint.global_step))
    }
}

/// What is said once of second names, after the run's address. `None` where there is none.
#[doc(hidden)]
#[must_use]
pub fn forks_in_words(names: &[String]) -> Option<String> {
    let shown = names.iter().take(MAX_SHOWN).map(String::as_str).collect::<Vec<&str>>().join(", ");
    let more = match names.len().saturating_sub(MAX_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!(
            "has checkpoints of another history of the run than the disk's. They stay there, as {shown}{more}: burn-ckpt cp gets \
             them, and burn-ckpt prune deletes them"
        )
    })
}

impl RunMirror {
    /// Gives the complete checkpoints that are of another history than the disk's a second name each, so that
    /// they stay when their first one is taken or deleted. To be called before the first checkpoint of the
    /// disk is sent. Returns the second names that are new.
    ///
    /// # Errors
    ///
    /// [`Error::Name`](crate::Error::Name) for a name that is too deep;
    /// [`Error::MirrorInUse`](crate::Error::MirrorInUse); [`Error::Mirror`](crate::Error::Mirror).
    #[doc(hidden)]
    pub fn keep_forks(&mut self, on_disk: &DiskHistory) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        let others = self.checkpoints.iter().filter(|there| !on_disk.has(there) && !there.is_fork());
        for other in others.cloned().collect::<Vec<MirroredCheckpoint>>() {
            let name = fork_name(other.term, &other.name);
            let has_name = |there: &MirroredCheckpoint| there.name == name && there.state() == other.state();
            if self.checkpoints.iter().any(has_name) {
                continue;
            }
            self.lease.keep()?;
            self.copy_evaluations(&other.name, &name)?;
            self.write_commit(other.as_fork()?)?;
            kept.push(name);
        }
        Ok(kept)
    }

    fn copy_evaluations(&mut self, from: &str, to: &str) -> Result<()> {
        let [from, key] = [from, to].map(|name| evaluations(&self.run_id, name));
        let size = self.objects.get(&from).map_or(u64::MAX, |object| object.size);
        if size <= MAX_EVALUATION_BYTES
            && let Some((text, _)) = self.store.get(&from, MAX_EVALUATION_BYTES)?
        {
            self.store.put(&key, &text)?;
            let (size, modified) = (text.len() as u64, self.lease.writer().now());
            self.objects.insert(key.clone(), Listed { key, size, modified });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::metadata::Metadata;
    use crate::format::run_start::RunStart;
    use crate::run_dir::catalog::CatalogEntry;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A state of a step, whose starts were at these times and began at these steps.
    fn state(step: u64, starts: &[(i64, u64)]) -> Metadata {
        let start =
            |&(second, global_step): &(i64, u64)| RunStart { global_step, ..RunStart::new(at(second), "r1") };
        Metadata::new(at(1000)).with_global_step(step).with_starts(starts.iter().map(start))
    }

    #[test]
    fn a_history_has_the_states_on_the_way_to_its_own() {
        let entry = |metadata| CatalogEntry { path: "x.ckpt".into(), metadata };
        let entries = [state(30, &[(1, 0), (3, 10)]), state(8, &[(1, 0)])].map(entry);
        let history = DiskHistory::of(&Catalog { entries: entries.into(), ..Catalog::default() });
        for (step, starts, is_there) in [
            (10, &[(1, 0)][..], true),
            (11, &[(1, 0)], false),
            (30, &[(1, 0), (3, 10)], true),
            (31, &[(1, 0), (3, 10)], false),
            // Another start from the same state.
            (20, &[(1, 0), (2, 10)], false),
            (20, &[], true),
        ] {
            let there = MirroredCheckpoint::new("r1", "last/x.ckpt", &state(step, starts));
            assert_eq!(history.has(&there), is_there, "{step} {starts:?}");
        }
    }
}
