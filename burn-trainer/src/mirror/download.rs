//! What a start gets from the mirror: the newest complete checkpoint if it is newer than the disk's, the
//! others that the run needs, and the log of metrics. Each is compared with its digest before it gets its
//! name. What is on disk stays until then.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use burn_ckpt::metrics_log::METRICS_FILE;
use burn_ckpt::mirror::{MirroredCheckpoint, MirroredRun, OUTSIDE_DIR};
use burn_ckpt::plumbing::{links_of_run, size, storage};
use burn_ckpt::{Catalog, Checkpoint, Error, RunLayout, chain};
use jiff::Timestamp;

use super::needed::needed;
use crate::config::TrainerConfig;
use crate::process::console::{note, warn};

type Result<T> = burn_ckpt::Result<T>;

/// Called with the number of bytes that were just downloaded, or read from the disk, so that the lease is
/// kept meanwhile. Its error ends the work.
pub(super) type KeepsLease<'a> = &'a (dyn Fn(u64) -> io::Result<()> + Sync);

/// The addresses of objects that were found to have other bytes than were sent. Two names of a state can have
/// one object: it is downloaded once, and said once.
#[derive(Debug, Default)]
pub(super) struct DamagedObjects(BTreeSet<PathBuf>);

impl DamagedObjects {
    /// Notes what is wrong with a checkpoint, and says it.
    fn leave_out(&mut self, checkpoint: &MirroredCheckpoint, error: &Error) {
        if let Error::Checksum { path, .. } | Error::Damaged { path, .. } = error {
            self.0.insert(path.clone());
        }
        warn(&format!("{} in the mirror is left out: {}", checkpoint.name, chain(error)));
    }

    /// Whether a checkpoint has one of them.
    fn is_in(&self, run: &MirroredRun, checkpoint: &MirroredCheckpoint) -> bool {
        checkpoint.files.iter().any(|file| self.0.contains(Path::new(&run.address_of(&file.object))))
    }
}

/// Downloads what the run resumes from, if it is newer than what is `present`. Returns whether anything was
/// downloaded.
///
/// The newest comes last: a start that is killed before has nothing that hides the rest.
///
/// # Errors
///
/// When the mirror has something newer that cannot be downloaded. The run would resume from an older state
/// then, and delete the newer one in the mirror with its next saves.
pub(super) fn download_newer(
    run: &MirroredRun,
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
    damaged: &mut DamagedObjects,
    progress: KeepsLease<'_>,
) -> Result<bool> {
    for (name, error) in run.broken() {
        warn(&format!("{name} in the mirror is left out: {}", chain(error)));
    }
    let newest_on_disk = newest_finite(present);
    let newer = run.checkpoints().iter().rev().filter(|checkpoint| !checkpoint.non_finite);
    let newer = newer.filter(|checkpoint| Some(checkpoint.checkpoint_timestamp) > newest_on_disk);
    let disk = Disk { layout, present };
    let mut first_error = None;
    for newest in newer {
        if damaged.is_in(run, newest) {
            continue;
        }
        match download_with_needed(run, newest, config, disk, "", damaged, progress) {
            Ok(()) => return Ok(true),
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => {
                damaged.leave_out(newest, &error);
                first_error = first_error.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    // A start from the beginning would hide that there were checkpoints.
    match (first_error, run.broken()) {
        (Some(error), _) if newest_on_disk.is_none() => Err(error),
        (None, [(name, error), ..]) if newest_on_disk.is_none() && run.checkpoints().is_empty() => {
            let path = PathBuf::from(run.address_of(name));
            Err(Error::Damaged { path, reason: chain(error), source: None })
        }
        _ => Ok(false),
    }
}

/// Downloads the newest complete checkpoint that is newer than the one which a resume would begin with, if
/// checkpoints on disk that are newer than that one are damaged. `resumed` is `None` where nothing on disk
/// can be resumed. Returns whether anything was downloaded.
///
/// # Errors
///
/// As for [`download_newer`].
pub(super) fn replace_damaged(
    run: &MirroredRun,
    config: &TrainerConfig,
    layout: &RunLayout,
    present: &Catalog,
    damaged: &mut DamagedObjects,
    resumed: Option<Timestamp>,
) -> Result<bool> {
    let is_newer = |time: Timestamp| Some(time) > resumed;
    let finite = present.entries.iter().rev().filter(|entry| entry.metadata.is_finite());
    let mut newer = finite.filter(|entry| is_newer(entry.metadata.checkpoint_timestamp));
    let is_whole = |path: &Path| Checkpoint::open(path).and_then(|checkpoint| checkpoint.verify()).is_ok();
    // Others are not resumed for reasons that the mirror's copies have too.
    if newer.all(|entry| is_whole(&entry.path)) && (resumed.is_some() || present.broken.is_empty()) {
        return Ok(false);
    }
    let disk = Disk { layout, present };
    let in_mirror = run
        .checkpoints()
        .iter()
        .rev()
        .filter(|checkpoint| !checkpoint.non_finite && is_newer(checkpoint.checkpoint_timestamp));
    for checkpoint in in_mirror {
        // The lease is kept by the mirror's thread.
        if damaged.is_in(run, checkpoint) || disk.has(checkpoint, &|_| Ok(())) {
            continue;
        }
        let why = ": the newest checkpoint on disk is damaged";
        match download_with_needed(run, checkpoint, config, disk, why, damaged, &|_| Ok(())) {
            Ok(()) => return Ok(true),
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => {
                damaged.leave_out(checkpoint, &error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// When the newest state on disk was saved that a run can resume from.
fn newest_finite(present: &Catalog) -> Option<Timestamp> {
    let finite = present.entries.iter().filter(|entry| entry.metadata.is_finite());
    finite.map(|entry| entry.metadata.checkpoint_timestamp).max()
}

/// Downloads a checkpoint, and first the others that the run needs with it. `why` ends what is said of it.
fn download_with_needed(
    run: &MirroredRun,
    newest: &MirroredCheckpoint,
    config: &TrainerConfig,
    disk: Disk<'_>,
    why: &str,
    damaged: &mut DamagedObjects,
    progress: KeepsLease<'_>,
) -> Result<()> {
    let layout = disk.layout;
    let mut others = needed(run, newest, config)?;
    others.retain(|other| !damaged.is_in(run, other));
    let bytes = others.iter().chain([&newest]).map(|checkpoint| checkpoint.total_bytes()).sum();
    let count = match others.len() {
        0 => String::new(),
        1 => " and another one".to_owned(),
        others => format!(" and {others} others"),
    };
    note(&format!("downloading {}{count}, {}{why}", run.address_of(&newest.name), size(bytes)));
    // A start that fails before leaves the log and the links on disk as they belong to the states there. The
    // next one gets them no more once the newest state is there, whatever its name.
    let are_replaced = Cell::new(false);
    let replace_rest = || {
        if !are_replaced.get() {
            download_log(run, newest, layout, progress)?;
            remove_links(layout)?;
            are_replaced.set(true);
        }
        Ok(())
    };
    for other in others {
        let is_newest_state = other.checkpoint_timestamp == newest.checkpoint_timestamp;
        let work: &dyn Fn() -> Result<()> = if is_newest_state { &replace_rest } else { &|| Ok(()) };
        match download_one(run, other, disk, work, progress) {
            Ok(()) => {}
            // The same object.
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. }))
                if other.sha256() == newest.sha256() =>
            {
                return Err(error);
            }
            Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => damaged.leave_out(other, &error),
            Err(error) => return Err(error),
        }
    }
    download_one(run, newest, disk, &replace_rest, progress)
}

/// Downloads a checkpoint, in place of an older state of that name, or of a damaged one. `work` is done once
/// all of it has arrived, and before it gets its name.
fn download_one(
    run: &MirroredRun,
    checkpoint: &MirroredCheckpoint,
    disk: Disk<'_>,
    work: &dyn Fn() -> Result<()>,
    progress: KeepsLease<'_>,
) -> Result<()> {
    match disk.has(checkpoint, progress) {
        true => work(),
        false => run.download_after(checkpoint, disk.layout, work, &|bytes| progress(bytes)).map(drop),
    }
}

/// Where checkpoints are on disk.
#[derive(Clone, Copy)]
struct Disk<'a> {
    layout: &'a RunLayout,
    present: &'a Catalog,
}

impl Disk<'_> {
    /// Whether a checkpoint of the mirror is there, and whole: as named in the run's directory, or in the
    /// directory outside of it from which it was sent.
    fn has(self, checkpoint: &MirroredCheckpoint, progress: KeepsLease<'_>) -> bool {
        let own = self.layout.checkpoint_dir();
        let place = own.join(&checkpoint.name);
        let outside = Path::new(&checkpoint.name).strip_prefix(OUTSIDE_DIR).ok();
        let is_outside = |path: &&Path| {
            !path.starts_with(&own) && outside.is_some_and(|name| path.file_name() == Some(name.as_os_str()))
        };
        let paths = self.present.entries.iter().map(|entry| entry.path.as_path()).filter(is_outside);
        let mut places = [place.as_path()].into_iter().chain(paths);
        places.any(|place| Checkpoint::is_whole_at(place, checkpoint.sha256(), progress))
    }
}

/// Removes the links of the state on disk, which would name an older best and last. Without them the
/// checkpoints say which these are, and the writer makes new links.
fn remove_links(layout: &RunLayout) -> Result<()> {
    for link in links_of_run(layout)? {
        storage::remove_file(&link).map_err(Error::io("remove", &link))?;
    }
    Ok(())
}

/// The log of metrics up to a checkpoint, in place of the one on disk once it has arrived. Where it is
/// damaged, that one stays, and the run writes it again from the checkpoint's history.
fn download_log(
    run: &MirroredRun,
    checkpoint: &MirroredCheckpoint,
    layout: &RunLayout,
    progress: KeepsLease<'_>,
) -> Result<()> {
    let path = layout.run_dir().join(METRICS_FILE);
    match run.download_metrics_log(checkpoint, &path, &|bytes| progress(bytes)) {
        Ok(_) => Ok(()),
        Err(error @ (Error::Checksum { .. } | Error::Damaged { .. })) => {
            warn(&format!(
                "the log of metrics in the mirror is left out, and is written again from the checkpoint's history: {}",
                chain(&error)
            ));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use burn_ckpt::mirror::{RunMirror, Store, Writer};
    use burn_ckpt::{Contents, Metadata, Section};

    use super::*;

    #[test]
    fn the_lease_can_be_kept_while_a_checkpoint_on_disk_is_compared() {
        let root = tempfile::tempdir().unwrap();
        let layout = RunLayout::new(root.path(), "logs", "r1").unwrap();
        let path = layout.checkpoint_dir().join("last/a.ckpt");
        let contents = Contents::default().with_section(Section::MODEL, Section::default());
        contents.save(&path, Metadata::new(Timestamp::now()).with_run_id("r1")).unwrap();
        let store = Store::connect(&"memory:compared".parse().unwrap()).unwrap();
        let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
        mirror.send(&layout, &path, &|_| Ok(())).unwrap();
        let (checkpoint, read) = (&mirror.checkpoints()[0], AtomicU64::new(0));
        let keeps_lease = |bytes| {
            read.fetch_add(bytes, Ordering::SeqCst);
            Ok(())
        };
        assert!(Checkpoint::is_whole_at(&path, checkpoint.sha256(), &keeps_lease));
        assert!(read.load(Ordering::SeqCst) >= std::fs::metadata(&path).unwrap().len());
        let lost = |_| Err(io::Error::other("another process has the lease"));
        assert!(!Checkpoint::is_whole_at(&path, checkpoint.sha256(), &lost));
    }
}
