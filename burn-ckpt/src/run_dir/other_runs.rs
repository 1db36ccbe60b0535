//! Whether a directory in which a run saves and deletes belongs to another run: `checkpoint`, the run's
//! directory or a strategy's can be a link to it.
//!
//! What is in a run's own directory is the run's by its place. So a copy of a run resumes, whose checkpoints
//! have the id of the run that was copied. Behind a link, a checkpoint is the run's if its metadata has the
//! run's id.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use crate::disk::directories::{is_symlink, is_there, list, parent, real_path_if_there};
use crate::error::{Error, Result};
use crate::file_names::{LOCK_FILE, is_checkpoint};
use crate::format::metadata::Metadata;
use crate::format::metadata::listed::MetadataParts;
use crate::run_dir::catalog::{Catalog, scan_files, scan_own};
use crate::run_dir::layout::{BEST_DIR, CHECKPOINT_DIR, LAST_DIR, ON_EXCEPTION_DIR, RunLayout};
use crate::run_dir::outside_directories::outside_directories;

/// Files in a run's directory that tell it from any other directory.
pub const RUN_MARKS: [&str; 2] = [LOCK_FILE, "experiment.log"];
/// Names in a run's `checkpoint` directory that tell it from any other directory of that name.
const CHECKPOINT_MARKS: [&str; 4] = ["last.ckpt", BEST_DIR, LAST_DIR, ON_EXCEPTION_DIR];

/// Checks that a run's `checkpoint` directory is not another run's. To be called before anything in it is
/// changed.
///
/// # Errors
///
/// [`Error::OtherRun`] when it is, through a link, in another run's directory, or has checkpoints of another
/// run; [`Error::Io`] when that cannot be seen.
pub fn check_own(layout: &RunLayout) -> Result<()> {
    let directory = layout.checkpoint_dir();
    if !is_symlink(layout.run_dir())? && !is_symlink(&directory)? {
        return Ok(());
    }
    check_no_other_run(layout, &directory)?;
    let catalog = scan_own(layout, MetadataParts::Listed, |_| ())?;
    let whole = catalog.entries.into_iter().map(|entry| (entry.path, entry.metadata.run_id));
    // The metadata of one that is not complete can be readable.
    let broken = catalog.broken.into_iter().filter_map(|(path, _)| {
        let run_id = Metadata::of_checkpoint(&path).map(|metadata| metadata.run_id);
        run_id.ok().map(|run_id| (path, run_id))
    });
    match whole.chain(broken).find(|(_, run_id)| run_id != layout.run_id()) {
        Some((path, other)) => {
            let place = real_path_if_there(&path)?.unwrap_or(path);
            Err(Error::OtherRun { run_id: layout.run_id().to_owned(), directory, place, other })
        }
        None => Ok(()),
    }
}

/// Checks that a directory is not among the checkpoints of another run.
///
/// # Errors
///
/// As for [`check_own`].
pub fn check_no_other_run(layout: &RunLayout, directory: &Path) -> Result<()> {
    let Some(place) = existing_part(directory)? else { return Ok(()) };
    let (run, own) = (real_path_if_there(layout.run_dir())?, real_path_if_there(&layout.checkpoint_dir())?);
    let is_checkpoints = |path: &&Path| path.file_name().is_some_and(|name| name == CHECKPOINT_DIR);
    for checkpoints in place.ancestors().filter(is_checkpoints) {
        let other = parent(checkpoints);
        if run.as_deref() == Some(other) {
            continue;
        }
        // Where the run's own `checkpoint` leads, there are such names too.
        let has_marks = has_any(other, &RUN_MARKS)?
            || own.as_deref() != Some(checkpoints) && has_any(checkpoints, &CHECKPOINT_MARKS)?;
        if has_marks {
            return Err(Error::OtherRun {
                run_id: layout.run_id().to_owned(),
                directory: directory.to_path_buf(),
                place: place.clone(),
                other: other.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// What tells a run's checkpoints in a directory outside of its own from those of a run of the same id below
/// another root, which can save there too.
#[derive(Debug)]
pub struct OwnCheckpoints {
    run_id: String,
    run_dir: PathBuf,
    /// When the run was started, as the checkpoints in its own directory and behind its links say it.
    starts: HashSet<Timestamp>,
    /// The directories into which the run says that it has saved.
    noted: Vec<PathBuf>,
}

impl OwnCheckpoints {
    /// Those of a run.
    ///
    /// # Errors
    ///
    /// As for [`Catalog::scan`] and [`outside_directories`].
    pub fn of(layout: &RunLayout) -> Result<Self> {
        let is_own = |metadata: &Metadata| metadata.run_id == layout.run_id();
        let own = scan_own(layout, MetadataParts::Listed, reduce)?;
        let own = own.entries.into_iter().map(|entry| entry.metadata);
        let mut starts: HashSet<Timestamp> =
            own.filter(is_own).map(|metadata| metadata.start_timestamp).collect();
        for path in list(&layout.checkpoint_dir())?.into_iter().filter(|path| is_checkpoint(path)) {
            // A link that leads nowhere says nothing.
            let linked = Metadata::of_checkpoint(&path).ok().filter(is_own);
            starts.extend(linked.map(|metadata| metadata.start_timestamp));
        }
        let (run_id, run_dir) = (layout.run_id().to_owned(), layout.run_dir().to_path_buf());
        Ok(Self { run_id, run_dir, starts, noted: outside_directories(layout)? })
    }

    /// Whether a checkpoint in a directory outside is the run's: of its start, or of a run in this place.
    /// Where nothing says when the run was started, also one in a directory into which the run has saved.
    /// Where the run's own directory is new or was lost, as on a machine that is started for each job, also
    /// one of a run with a relative root that can be this place.
    #[must_use]
    pub fn have(&self, directory: &Path, metadata: &Metadata) -> bool {
        metadata.run_id == self.run_id
            && (self.have_start(directory, metadata.start_timestamp) || self.is_of_this_place(metadata))
    }

    /// The same for something of which only that is known: when the run of this id was started that saved it.
    pub(crate) fn have_start(&self, directory: &Path, start: Timestamp) -> bool {
        let is_noted = || self.noted.iter().any(|noted| noted == directory);
        self.starts.contains(&start) || self.starts.is_empty() && is_noted()
    }

    fn is_of_this_place(&self, metadata: &Metadata) -> bool {
        let setting = |name: &str| metadata.trainer_config[name].as_str().map(Path::new);
        let (Some(root), Some(logs)) = (setting("root"), setting("logs")) else { return false };
        let place = root.join(logs).join(&self.run_id);
        if root.is_absolute() {
            return place == self.run_dir;
        }
        // Below which working directory, nothing says.
        let below: PathBuf = place.components().filter(|part| *part != Component::CurDir).collect();
        self.starts.is_empty() && self.noted.is_empty() && self.run_dir.ends_with(below)
    }
}

impl Catalog {
    /// Lists a run's checkpoints: those in the directories of its strategies, and those in the directories
    /// outside of its own into which it has saved. What other runs have there is left out. Reads the
    /// metadata, which for version 2 is at the end of the file, and compares sizes. Reads no tensor, and
    /// compares no tensor's digest.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a directory cannot be listed, [`Error::Metadata`] when the run's list of
    /// directories outside is invalid. A missing directory counts as empty.
    pub fn scan(layout: &RunLayout) -> Result<Self> {
        scan_with(layout, &outside_directories(layout)?, MetadataParts::All, |_| (), |_, _| ())
    }
}

/// The run's checkpoints in its own directory and in these outside of it, of these parts of their metadata
/// and of what `reduce` leaves. `others` is called with a directory and the number of checkpoints in it of
/// another run with the same id.
///
/// # Errors
///
/// As for [`Catalog::scan`].
pub fn scan_with(
    layout: &RunLayout,
    outside: &[PathBuf],
    parts: MetadataParts,
    reduce: fn(&mut Metadata),
    others: impl FnMut(&Path, u64),
) -> Result<Catalog> {
    let mut catalog = scan_own(layout, parts, reduce)?;
    add_outside(&mut catalog, layout, outside, parts, reduce, others)?;
    Ok(catalog)
}

/// As [`scan_with`], for a catalog that has the checkpoints in the run's own directory.
///
/// # Errors
///
/// As for [`Catalog::scan`].
pub fn add_outside(
    catalog: &mut Catalog,
    layout: &RunLayout,
    outside: &[PathBuf],
    parts: MetadataParts,
    reduce: fn(&mut Metadata),
    mut others: impl FnMut(&Path, u64),
) -> Result<()> {
    if outside.is_empty() {
        return Ok(());
    }
    let own = OwnCheckpoints::of(layout)?;
    for directory in outside {
        let Catalog { entries, broken } = scan_files(directory, parts, reduce)?;
        let is_own = |metadata: &Metadata| own.have(directory, metadata);
        let (ours, theirs): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| is_own(&entry.metadata));
        catalog.entries.extend(ours);
        let is_own = |path: &Path| Metadata::of_checkpoint(path).is_ok_and(|metadata| is_own(&metadata));
        catalog.broken.extend(broken.into_iter().filter(|(path, _)| is_own(path)));
        let of_the_id = theirs.iter().filter(|entry| entry.metadata.run_id == layout.run_id()).count();
        if of_the_id > 0 {
            others(directory, of_the_id as u64);
        }
    }
    catalog.sort();
    Ok(())
}

/// Leaves of a checkpoint's metadata what tells whose it is.
fn reduce(metadata: &mut Metadata) {
    let run_id = std::mem::take(&mut metadata.run_id);
    let start_timestamp = metadata.start_timestamp;
    *metadata = Metadata { run_id, start_timestamp, ..Metadata::new(metadata.checkpoint_timestamp) };
}

/// The longest part of a path that exists, without links.
fn existing_part(path: &Path) -> Result<Option<PathBuf>> {
    for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        if let Some(part) = real_path_if_there(part)? {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

fn has_any(directory: &Path, names: &[&str]) -> Result<bool> {
    for name in names {
        if is_there(&directory.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}
