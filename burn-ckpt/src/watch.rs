//! The new checkpoints of a run that another process trains, each verified: [`Watch`] is an iterator over
//! them, and [`Watch::poll`] looks once. Nothing is written, and no lock is kept.

mod checkpoint_name;
mod run_checkpoints;
mod run_state;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

pub use run_state::RunState;

use crate::disk::directories::{is_directory, stat};
use crate::disk::run_lock::lock_state;
use crate::error::kind::ErrorKind;
use crate::error::{Error, Result};
use crate::format::metadata::Metadata;
use crate::load::checkpoint::Checkpoint;
use crate::load::verify::TWO_THREADS;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::locate::run_at;
use crate::watch::checkpoint_name::{checkpoint_of_name, name_not_found};
use crate::watch::run_checkpoints::{FileStamp, RunCheckpoints};

/// The time between two looks at a run, unless a program sets another one.
const INTERVAL: Duration = Duration::from_secs(2);

/// A run's new checkpoints: an iterator that waits for the next one, and ends when the run is done.
///
/// A checkpoint comes when it has its final name, and is verified whole. It holds its open files, so it can
/// be loaded also if the run deletes it meanwhile. Those that are there at the start come first, the oldest
/// first. A state with several names, as one that is both best and last, comes once.
///
/// The run need not exist yet. It is looked at every two seconds, which works on network disks too. A
/// checkpoint that the run deletes before it could be read is left out if a newer one of its kind follows; if
/// none does, it is an error at the end. A checkpoint that cannot be read or verified is an error, and the
/// watch continues after it. An error that [`is_final`] ends it.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// use burn_ckpt::watch::Watch;
///
/// for new in Watch::new("runs/a").name("best") {
///     let new = new?;
///     println!("{}: {:?}", new.checkpoint.path().display(), new.metadata.metrics);
///     // let model = new.checkpoint.load_into(config.init(&device))?;
/// }
/// # Ok(()) }
/// ```
///
/// [`Watch::poll`] looks once and does not wait, for a program that does something else meanwhile.
#[derive(Debug)]
pub struct Watch {
    run_dir: PathBuf,
    name: Option<String>,
    /// Whether the name has led to a checkpoint at some look, or was named as one that leads to none.
    is_name_known: bool,
    interval: Duration,
    leaves_out_present: bool,
    ends_when_stopped: bool,
    checkpoints: RunCheckpoints,
    /// Files that were yielded, or failed.
    seen: HashSet<FileStamp>,
    /// The SHA-256 of the states that were yielded.
    yielded: HashSet<String>,
    /// The files of the last look, in the order in which they were saved.
    listed: Vec<PathBuf>,
    missed: Vec<Missed>,
    /// Whether a process wrote to the run at some look.
    was_running: bool,
    has_looked: bool,
    /// Whether the iterator's last look was an error.
    has_failed: bool,
    has_ended: bool,
}

/// A file that was deleted before it could be read.
#[derive(Debug)]
struct Missed {
    path: PathBuf,
    /// What a newer one has in common with it.
    kind: PathBuf,
    /// The files that were saved before it, and itself.
    not_after: Vec<PathBuf>,
}

impl Missed {
    fn is_followed_by(&self, path: &Path, kind: &Path) -> bool {
        self.kind == kind && !self.not_after.iter().any(|before| before == path)
    }
}

/// A new checkpoint of a run, verified. See the example of [`Watch`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NewCheckpoint {
    /// The checkpoint, with its files open: it can be loaded after the run has deleted it.
    pub checkpoint: Checkpoint,
    /// Its metadata, with the SHA-256 that was computed when the file was verified.
    pub metadata: Metadata,
}

/// What a look at a run has found. See [`Watch::poll`].
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A new checkpoint. There may be more: call [`Watch::poll`] again at once.
    New(Box<NewCheckpoint>),
    /// No new checkpoint at this look. More may come.
    Waiting(RunState),
    /// No new checkpoint, and no more will come.
    Ended(RunState),
}

impl Watch {
    /// Watches all checkpoints of the run in this directory.
    #[must_use]
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
            name: None,
            is_name_known: false,
            interval: INTERVAL,
            leaves_out_present: false,
            ends_when_stopped: false,
            checkpoints: RunCheckpoints::default(),
            seen: HashSet::new(),
            yielded: HashSet::new(),
            listed: Vec::new(),
            missed: Vec::new(),
            was_running: false,
            has_looked: false,
            has_failed: false,
            has_ended: false,
        }
    }

    /// Watches only what `last`, `best` or `best_<metric>` of the run leads to.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how long the iterator waits between two looks: 2 seconds by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Leaves out the checkpoints that are there at the first look.
    #[must_use]
    pub fn only_new(mut self, only_new: bool) -> Self {
        self.leaves_out_present = only_new;
        self
    }

    /// Ends also when the run's process has ended before the run is done. By default the watch waits until
    /// the run is resumed.
    #[must_use]
    pub fn end_when_stopped(mut self, ends: bool) -> Self {
        self.ends_when_stopped = ends;
        self
    }

    /// Looks at the run once, without waiting.
    ///
    /// ```no_run
    /// # fn main() -> burn_ckpt::Result<()> {
    /// use burn_ckpt::watch::{Watch, WatchEvent};
    ///
    /// let mut watch = Watch::new("runs/a");
    /// match watch.poll()? {
    ///     WatchEvent::New(new) => println!("step {}", new.metadata.global_step),
    ///     WatchEvent::Waiting(state) => println!("nothing new: {state}"),
    ///     WatchEvent::Ended(state) => println!("nothing more comes: {state}"),
    ///     _ => {}
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for `best` of a run with several best checkpoints, and at the end for a checkpoint
    /// that was deleted before it could be read, or a name that no checkpoint had; [`Error::Io`] when the run
    /// cannot be looked at, or is not a directory; those of
    /// [`Checkpoint::open`] and [`Checkpoint::verify`] for a checkpoint that cannot be read or is damaged,
    /// once for each.
    pub fn poll(&mut self) -> Result<WatchEvent> {
        loop {
            if let Some(event) = self.poll_unless(&|| false)? {
                return Ok(event);
            }
        }
    }

    /// The same until it is to stop, which is looked at while a checkpoint is verified. `None` if it was
    /// stopped.
    ///
    /// # Errors
    ///
    /// As for [`Watch::poll`].
    #[doc(hidden)]
    pub fn poll_unless(&mut self, is_stopped: &(dyn Fn() -> bool + Sync)) -> Result<Option<WatchEvent>> {
        // What is not there yet can become a run, and a file does not.
        if stat(&self.run_dir)?.is_some_and(|stat| !stat.is_dir()) {
            return Err(Error::io("watch the run", &self.run_dir)(io::ErrorKind::NotADirectory.into()));
        }
        let layout = run_at(&self.run_dir)?.unwrap_or_else(|| RunLayout::at(&self.run_dir));
        // Before the look at the files: what a process has saved before its end is seen then.
        let lock = lock_state(layout.run_dir());
        let paths = self.new_files(&layout)?;
        for path in paths {
            let Some(new) = self.open_new(&path, is_stopped)? else { return Ok(None) };
            if let Some(new) = new {
                return Ok(Some(WatchEvent::New(Box::new(new))));
            }
        }
        let is_there = is_directory(&layout.checkpoint_dir())?;
        let state = self.checkpoints.run_state(&layout, is_there, lock, &mut self.was_running)?;
        let ends = match state {
            RunState::Done | RunState::Ended => true,
            RunState::Stopped(_) => self.ends_when_stopped,
            _ => false,
        };
        if !ends {
            return Ok(Some(WatchEvent::Waiting(state)));
        }
        // One that followed can have been yielded under its name in another directory.
        let listed: Vec<(PathBuf, PathBuf)> =
            self.listed.iter().map(|path| (path.clone(), self.kind(path))).collect();
        self.missed.retain(|missed| !listed.iter().any(|(path, kind)| missed.is_followed_by(path, kind)));
        if let Some(missed) = self.missed.pop() {
            return Err(deleted(&missed.path));
        }
        match &self.name {
            Some(name) if !self.is_name_known && !matches!(state, RunState::Stopped(_)) => {
                self.is_name_known = true;
                Err(name_not_found(&layout, name)?)
            }
            _ => Ok(Some(WatchEvent::Ended(state))),
        }
    }

    /// The files that were not seen yet, in the order in which they were saved.
    fn new_files(&mut self, layout: &RunLayout) -> Result<Vec<PathBuf>> {
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        let files = match &self.name {
            None => {
                self.checkpoints.refresh(layout)?;
                self.checkpoints.in_order()
            }
            Some(name) => checkpoint_of_name(layout, name)?.into_iter().collect(),
        };
        self.is_name_known |= !files.is_empty();
        self.listed = files.iter().map(|(path, _)| path.clone()).collect();
        if is_first && self.leaves_out_present {
            self.seen.extend(files.into_iter().map(|(_, stamp)| stamp));
            return Ok(Vec::new());
        }
        Ok(files.into_iter().filter(|(_, stamp)| !self.seen.contains(stamp)).map(|(path, _)| path).collect())
    }

    /// Opens a new file and reads it whole. `None` if it is a state that was yielded under another name, or
    /// is gone. Nothing at all if it was stopped.
    fn open_new(
        &mut self,
        path: &Path,
        is_stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Option<NewCheckpoint>>> {
        let Some(stamp) = FileStamp::of(path)? else { return Ok(Some(self.note_missed(path))) };
        if self.seen.contains(&stamp) {
            return Ok(Some(None));
        }
        let read = match Checkpoint::open(path) {
            Ok(checkpoint) => match checkpoint.verify_unless(TWO_THREADS, is_stopped) {
                Some(verified) => verified.map(|metadata| NewCheckpoint { checkpoint, metadata }),
                None => return Ok(None),
            },
            Err(error) => Err(error),
        };
        let new = match read {
            Ok(new) => new,
            // It was deleted meanwhile, or replaced. On a network disk reading an open file fails then, with
            // an error of any kind.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(self.note_missed(path))),
            Err(_) if FileStamp::of(path)?.as_ref() != Some(&stamp) => {
                return Ok(Some(self.note_missed(path)));
            }
            Err(error) => {
                self.seen.insert(stamp);
                return Err(error);
            }
        };
        self.seen.insert(stamp);
        let kind = self.kind(path);
        self.missed.retain(|missed| missed.kind != kind);
        let is_new = self.yielded.insert(new.metadata.checkpoint_checksum.clone());
        Ok(Some(is_new.then_some(new)))
    }

    fn note_missed(&mut self, path: &Path) -> Option<NewCheckpoint> {
        if !self.missed.iter().any(|missed| missed.path == path) {
            let until = self.listed.iter().position(|listed| listed == path).map_or(0, |place| place + 1);
            let not_after = self.listed[..until].to_vec();
            self.missed.push(Missed { path: path.to_path_buf(), kind: self.kind(path), not_after });
        }
        None
    }

    /// What checkpoints of one kind have in common: the name that leads to them, or their directory.
    fn kind(&self, path: &Path) -> PathBuf {
        let directory = || path.parent().unwrap_or(path).to_path_buf();
        self.name.as_ref().map_or_else(directory, PathBuf::from)
    }
}

impl Iterator for Watch {
    type Item = Result<NewCheckpoint>;

    fn next(&mut self) -> Option<Self::Item> {
        // A disk that fails is asked again, but not without a pause.
        if std::mem::take(&mut self.has_failed) && !self.has_ended {
            sleep(self.interval);
        }
        while !self.has_ended {
            match self.poll() {
                Ok(WatchEvent::New(new)) => return Some(Ok(*new)),
                Ok(WatchEvent::Waiting(_)) => sleep(self.interval),
                Ok(WatchEvent::Ended(_)) => self.has_ended = true,
                Err(error) => {
                    (self.has_failed, self.has_ended) = (true, is_final(&error));
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Whether an error of [`Watch::poll`] is the last one: another look at the run would say the same.
///
/// ```
/// use burn_ckpt::watch::{Watch, is_final};
///
/// // A file is not a run, and does not become one.
/// let error = Watch::new("Cargo.toml").poll().unwrap_err();
/// assert!(is_final(&error));
/// ```
#[must_use]
pub fn is_final(error: &Error) -> bool {
    let is_file = matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory);
    is_file || error.kind() == ErrorKind::NotFound
}

fn deleted(path: &Path) -> Error {
    Error::NotFound {
        path: path.parent().unwrap_or(path).to_path_buf(),
        wanted: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        hint: "it was deleted before it could be read, and no newer one followed".to_owned(),
    }
}
