//! What the chaos does to a run's files between two starts, and what it has to find of it later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{BEST_DIR, CHECKPOINT_SUFFIX, LAST_DIR, metadata_path, shards_directory};
use serde_json::Value;

use super::counts::Counts;
use crate::programs::commands::sha256sum;
use crate::random::SplitMix64;
use crate::run_files::{files, is_staging, metadata};

/// Names of staging files that no process of the run has.
const STAGING: &str = ".epoch=0-step=1.ckpt.0123456789abcdef-1.staging";

/// Is in the path of each shard.
const SHARDS: &str = ".shards/";

/// A complete checkpoint of the run.
#[derive(Debug, Clone)]
pub(super) struct Intact {
    pub(super) step: u64,
    /// Two names of one file have the same.
    inode: u64,
}

/// A file that the chaos has damaged, or whose metadata it has removed.
#[derive(Debug)]
struct Damaged {
    /// Its bytes since. Another file may get its name.
    content: Vec<String>,
    /// Whether its bytes were changed. Otherwise it stands on its own.
    is_corrupt: bool,
    /// Whether its metadata was removed.
    without_metadata: bool,
    step: u64,
    /// Whether the program has named it.
    is_named: bool,
}

/// The damage done to a run.
#[derive(Debug)]
pub(super) struct Damage {
    checkpoints: PathBuf,
    /// Where the run saves outside of that, if it does.
    outside: PathBuf,
    damaged: BTreeMap<PathBuf, Damaged>,
    /// Whether a best checkpoint is lost for good: the run does not come to its step again.
    pub(super) has_cost_a_best: bool,
}

impl Damage {
    pub(super) fn new(checkpoints: PathBuf, outside: PathBuf) -> Self {
        Self { checkpoints, outside, damaged: BTreeMap::new(), has_cost_a_best: false }
    }

    /// The checkpoints that are what their metadata says. An error for one that is not, unless that was done
    /// here.
    pub(super) fn intact(&self) -> Result<BTreeMap<PathBuf, Intact>, String> {
        let mut intact = BTreeMap::new();
        if !self.checkpoints.exists() {
            return Ok(intact);
        }
        let places = [&self.checkpoints, &self.outside].into_iter().filter(|place| place.exists());
        for (place, name) in places.flat_map(|place| files(place).into_iter().map(move |name| (place, name)))
        {
            if let Some((link, _)) = name.split_once(" -> ") {
                let link_path = place.join(link);
                if !link_path.exists() && !self.has_removed_the_target_of(&link_path) {
                    return Err(format!("{name} leads nowhere"));
                }
                continue;
            }
            let path = place.join(&name);
            if is_staging(&name) || !name.ends_with(CHECKPOINT_SUFFIX) || name.contains(SHARDS) {
                continue;
            }
            let inode = fs::metadata(&path).map_err(|error| format!("{name}: {error}"))?.ino();
            if self.is_damaged(&path)? {
                // It stands on its own.
                let alone = self.damaged.get(&path).filter(|damaged| !damaged.is_corrupt);
                intact.extend(alone.map(|damaged| (path.clone(), Intact { step: damaged.step, inode })));
                continue;
            }
            if !metadata_path(&path).exists() {
                return Err(format!("{name} has no metadata, and the soak did not remove it"));
            }
            let said = metadata(&path);
            if stated(&said) != content(&path)? {
                return Err(format!("{name} is not what its metadata says, and the soak did not damage it"));
            }
            let step = said["global_step"].as_u64().unwrap_or_default();
            intact.insert(path, Intact { step, inode });
        }
        Ok(intact)
    }

    /// Whether a link leads to metadata that was removed here.
    fn has_removed_the_target_of(&self, link: &Path) -> bool {
        let Ok(target) = fs::read_link(link) else { return false };
        let Some(target) = whole_path(&self.checkpoints.join(target)) else { return false };
        let mut removed = self.damaged.iter().filter(|(_, damaged)| damaged.without_metadata);
        removed.any(|(path, _)| whole_path(&metadata_path(path)).as_ref() == Some(&target))
    }

    fn is_damaged(&self, path: &Path) -> Result<bool, String> {
        let Some(damaged) = self.damaged.get(path) else { return Ok(false) };
        let is_same = path.exists() && content(path)? == damaged.content;
        Ok(is_same && (damaged.is_corrupt || !metadata_path(path).exists()))
    }

    /// Does one thing, drawn by chance, of those that the run has to survive.
    pub(super) fn draw(&mut self, random: &mut SplitMix64, counts: &mut Counts) -> Result<(), String> {
        let intact = self.intact()?;
        let failed = |error: std::io::Error| format!("the chaos cannot do its damage: {error}");
        match random.below(6) {
            0 | 1 => self.corrupt(&intact, random, counts),
            2 => self.remove_metadata(&intact, random, counts),
            3 | 4 => self.remove_link(random, counts).map_err(failed),
            _ => self.leave_staging_file(random, counts).map_err(failed),
        }
    }

    /// Flips a byte of a file, or cuts it off; of one that is not the only one that the run can resume from.
    fn corrupt(
        &mut self,
        intact: &BTreeMap<PathBuf, Intact>,
        random: &mut SplitMix64,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let Some(chosen) = chosen(intact, random) else { return Ok(()) };
        let failed = |error: std::io::Error| format!("{}: {error}", chosen.display());
        let parts = parts(&chosen);
        let part = &parts[usize::try_from(random.below(parts.len() as u64)).unwrap_or_default()];
        let mut file = File::options().read(true).write(true).open(part).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let at = random.below(length);
        if random.below(2) == 0 {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).map_err(failed)?;
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
            file.write_all(&[byte[0] ^ (1 << random.below(8))]).map_err(failed)?;
        } else {
            file.set_len(at).map_err(failed)?;
        }
        counts.corruptions += 1;
        let inode = intact[&chosen].inode;
        for (path, other) in intact.iter().filter(|(_, other)| other.inode == inode) {
            self.note(path, other, true)?;
        }
        Ok(())
    }

    fn remove_metadata(
        &mut self,
        intact: &BTreeMap<PathBuf, Intact>,
        random: &mut SplitMix64,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let Some(chosen) = chosen(intact, random) else { return Ok(()) };
        if !metadata_path(&chosen).exists() {
            return Ok(());
        }
        fs::remove_file(metadata_path(&chosen)).map_err(|error| format!("{}: {error}", chosen.display()))?;
        counts.removed_metadata += 1;
        self.note(&chosen, &intact[&chosen], false)
    }

    fn note(&mut self, path: &Path, intact: &Intact, is_corrupt: bool) -> Result<(), String> {
        // Its metadata can have been removed before its bytes are changed.
        let without_metadata = !metadata_path(path).exists();
        let (content, step) = (content(path)?, intact.step);
        let damaged = Damaged { content, is_corrupt, without_metadata, step, is_named: false };
        self.damaged.insert(path.to_path_buf(), damaged);
        Ok(())
    }

    /// Removes a link, or the link to its metadata, or both.
    fn remove_link(&mut self, random: &mut SplitMix64, counts: &mut Counts) -> std::io::Result<()> {
        let mut links: Vec<PathBuf> = fs::read_dir(&self.checkpoints)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?
            .into_iter()
            .filter(|path| path.is_symlink())
            .collect();
        links.sort();
        let Ok(place) = usize::try_from(random.below(links.len() as u64)) else { return Ok(()) };
        let Some(link) = links.get(place) else { return Ok(()) };
        fs::remove_file(link)?;
        if random.below(2) == 0 && metadata_path(link).is_symlink() {
            fs::remove_file(metadata_path(link))?;
        }
        counts.removed_links += 1;
        Ok(())
    }

    fn leave_staging_file(&self, random: &mut SplitMix64, counts: &mut Counts) -> std::io::Result<()> {
        let directory = self.checkpoints.join(if random.below(2) == 0 { BEST_DIR } else { LAST_DIR });
        if directory.is_dir() {
            fs::write(directory.join(STAGING), random.next_u64().to_le_bytes())?;
            counts.staging_files += 1;
        }
        Ok(())
    }

    /// Before a start that resumes from a step: a best checkpoint of that step or an earlier one is not made
    /// again.
    pub(super) fn resumes_from(&mut self, step: u64) -> Result<(), String> {
        for (path, damaged) in &self.damaged {
            if is_best(path) && damaged.is_corrupt && damaged.step <= step && self.is_damaged(path)? {
                self.has_cost_a_best = true;
            }
        }
        Ok(())
    }

    /// Looks for the damaged files in what the program has said.
    pub(super) fn heard(&mut self, said: &str) {
        let warnings: Vec<&str> = said.lines().filter(|line| line.to_lowercase().contains("warn")).collect();
        for (path, damaged) in &mut self.damaged {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            damaged.is_named |= warnings.iter().any(|line| line.contains(&name));
        }
    }

    /// At the end of the run: removes the damaged files that are there still, as the user does who was told
    /// of them.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        let mut unnamed = BTreeSet::new();
        for (path, damaged) in &self.damaged {
            if !self.is_damaged(path)? {
                continue;
            }
            // The run can have resumed from it all the same, and does not make it again.
            self.has_cost_a_best |= !damaged.is_corrupt && is_best(path);
            if !damaged.is_named && damaged.is_corrupt {
                unnamed.insert(path.display().to_string());
            }
            for path in [path.clone(), metadata_path(path)] {
                if path.exists() {
                    fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
            let shards = shards_directory(path);
            if shards.exists() {
                fs::remove_dir_all(&shards).map_err(|error| format!("{}: {error}", shards.display()))?;
            }
        }
        if unnamed.is_empty() { Ok(()) } else { Err(format!("damaged, and never named: {unnamed:?}")) }
    }
}

/// The files of a checkpoint: its own, and its shards in their order.
fn parts(path: &Path) -> Vec<PathBuf> {
    let shards = shards_directory(path);
    let mut parts = vec![path.to_path_buf()];
    if shards.is_dir() {
        parts.extend(files(&shards).into_iter().map(|name| shards.join(name)));
    }
    parts
}

/// The SHA-256 of each of them.
fn content(path: &Path) -> Result<Vec<String>, String> {
    parts(path).iter().map(|part| sha256sum(part)).collect()
}

/// What the metadata says they are.
fn stated(metadata: &Value) -> Vec<String> {
    let shards = metadata["shards"].as_array().into_iter().flatten().map(|shard| &shard["checksum"]);
    let all = std::iter::once(&metadata["checkpoint_checksum"]).chain(shards);
    all.map(|checksum| checksum.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned())
        .collect()
}

fn is_best(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(BEST_DIR))
}

/// One of the files, as long as there is another that the run can resume from. Mostly the newest, on which
/// most depends.
fn chosen(intact: &BTreeMap<PathBuf, Intact>, random: &mut SplitMix64) -> Option<PathBuf> {
    let inodes: BTreeSet<u64> = intact.values().map(|intact| intact.inode).collect();
    if inodes.len() < 2 {
        return None;
    }
    let mut by_age: Vec<_> = intact.iter().collect();
    by_age.sort_by_key(|(path, intact)| (intact.step, (*path).clone()));
    let place = match random.below(4) {
        0..3 => by_age.len() - 1,
        _ => usize::try_from(random.below(by_age.len() as u64)).unwrap_or_default(),
    };
    Some(by_age[place].0.clone())
}

/// The path of a file that is no more, without links and `..` on the way.
fn whole_path(path: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::small::train_and_keep_all;
    use crate::run_files::{checkpoints, in_memory};
    use crate::soak::soaked_programs::OUTSIDE;

    #[test]
    fn what_the_chaos_damaged_has_to_be_named_and_what_it_did_not_damage_has_to_be_whole() {
        let root = in_memory();
        train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 2).unwrap();
        let mut damage = Damage::new(checkpoints(root.path()), root.path().join(OUTSIDE));
        let before = damage.intact().unwrap();
        let mut counts = Counts::default();
        damage.corrupt(&before, &mut SplitMix64::new(1), &mut counts).unwrap();
        let after = damage.intact().unwrap();
        assert!(counts.corruptions == 1 && after.len() < before.len(), "{counts:?} {after:?}");
        let (lost, _) = before.iter().find(|(path, _)| !after.contains_key(*path)).unwrap();
        damage.heard(&format!("resuming r1 from {}", lost.display()));
        let error = damage.clear().unwrap_err();
        assert!(error.starts_with("damaged, and never named"), "{error}");

        let whole = after.keys().next().unwrap();
        fs::write(whole, "other bytes").unwrap();
        let error = damage.intact().unwrap_err();
        assert!(error.contains("did not damage it"), "{error}");
    }

    #[test]
    fn the_only_checkpoint_is_not_damaged() {
        let root = in_memory();
        train_and_keep_all(root.path(), &[1.0], 1).unwrap();
        let damage = Damage::new(checkpoints(root.path()), root.path().join(OUTSIDE));
        let intact = damage.intact().unwrap();
        assert!(!intact.is_empty());
        assert_eq!(chosen(&intact, &mut SplitMix64::new(1)), None);
    }
}
