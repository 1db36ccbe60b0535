//! Verifying many checkpoints at once, several files in parallel. A file with several names is read once.
//! Shows a progress bar on a terminal if the work takes longer than half a second.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use burn_ckpt::metadata::TensorInfo;
use burn_ckpt::plumbing::{
    FileIdentity, checkpoint_identity, file_identity, is_checkpoint, shards_directory, start_scoped_work,
    storage,
};
use burn_ckpt::{Checkpoint, Metadata, Result};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::verb_result::Failure;

/// Work that takes longer, or reads more bytes, gets a progress bar.
const QUICK: Duration = Duration::from_millis(500);
const SMALL: u64 = 256 * 1024 * 1024;

/// The number of threads that run at the same time on this machine.
pub fn all_processors() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Verifies checkpoints. Calls `each` with the outcomes in the order of the paths, as soon as an outcome and
/// those before it are known.
pub fn verify_all(
    paths: &[PathBuf],
    jobs: NonZeroUsize,
    mut each: impl FnMut(&Path, Result<Metadata>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let files = by_file(paths);
    let workers = jobs.get().min(files.len()).max(1);
    let threads = NonZeroUsize::new(jobs.get() / workers).unwrap_or(NonZeroUsize::MIN);
    let (progress, next) = (Progress::new(&files, paths), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (sender, outcomes) = mpsc::channel();
        for _ in 0..workers {
            let (sender, files, progress, next) = (sender.clone(), &files, &progress, &next);
            // Where no thread can be started, the work is done before the outcomes are received: the channel
            // takes them all.
            start_scoped_work(scope, move || {
                while let Some(names) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (place, outcome) in verify_names(paths, names, threads, progress) {
                        // The receiver has stopped because standard output failed.
                        if sender.send((place, outcome)).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = HashMap::new();
        let mut reported = 0;
        for (place, outcome) in outcomes {
            waiting.insert(place, outcome);
            while let Some(outcome) = waiting.remove(&reported) {
                progress.bar.suspend(|| each(&paths[reported], outcome))?;
                reported += 1;
            }
        }
        progress.bar.finish_and_clear();
        Ok(())
    })
}

/// Verifies a checkpoint by the digests in it, and returns its metadata without a look at the file beside it.
pub fn describe(checkpoint: &Checkpoint) -> Result<Metadata> {
    let progress = Progress::over(2 * checkpoint.total_bytes());
    let metadata = checkpoint.describe(all_processors(), &|bytes| progress.add(bytes));
    progress.bar.finish_and_clear();
    metadata
}

/// Computes the digests of a checkpoint's tensors.
pub fn hash_tensors(checkpoint: &Checkpoint) -> Result<IndexMap<String, TensorInfo>> {
    let progress = Progress::over(checkpoint.total_bytes());
    let digests = checkpoint.tensor_digests(all_processors(), &|bytes| progress.add(bytes));
    progress.bar.finish_and_clear();
    digests
}

/// Verifies one file under each of its names. Each name has metadata of its own, and can have shards of its
/// own.
fn verify_names(
    paths: &[PathBuf],
    names: &[usize],
    threads: NonZeroUsize,
    progress: &Progress,
) -> Vec<(usize, Result<Metadata>)> {
    let mut whole: Option<(Metadata, Vec<FileIdentity>)> = None;
    let outcome = |name: &usize| {
        let checkpoint = Checkpoint::open(&paths[*name])?;
        let identity = |metadata: &Metadata| checkpoint_identity(checkpoint.path(), metadata.shards.len());
        if let Some((known, files)) = &whole {
            let metadata = checkpoint.metadata()?;
            if describe_same_bytes(known, &metadata) && identity(&metadata)?.as_ref() == Some(files) {
                return Ok(metadata);
            }
        }
        let metadata = checkpoint.verify_with(threads, &|bytes| progress.add(bytes))?;
        whole = identity(&metadata)?.map(|files| (metadata.clone(), files));
        Ok(metadata)
    };
    let outcomes: Vec<Result<Metadata>> = names.iter().map(outcome).collect();
    names.iter().copied().zip(outcomes).collect()
}

/// Whether the metadata of two names of a file has the same digests.
fn describe_same_bytes(a: &Metadata, b: &Metadata) -> bool {
    a.checkpoint_checksum == b.checkpoint_checksum
        && a.checkpoint_size_bytes == b.checkpoint_size_bytes
        && a.shards == b.shards
        && a.tensors == b.tensors
        && a.hparams == b.hparams
}

/// The indices of the paths, grouped by file.
fn by_file(paths: &[PathBuf]) -> Vec<Vec<usize>> {
    let mut files: IndexMap<String, Vec<usize>> = IndexMap::new();
    for (place, path) in paths.iter().enumerate() {
        files.entry(identity(path)).or_default().push(place);
    }
    files.into_values().collect()
}

/// A text that is the same for two names of one file, and different for two files.
pub fn identity(path: &Path) -> String {
    match file_identity(path) {
        Ok(Some(identity)) => format!("{identity:?}"),
        // A file of its own. Opening it reports the error.
        Ok(None) | Err(_) => format!("path:{}", path.display()),
    }
}

/// The size in bytes of a checkpoint's files, or of those in a directory. One that cannot be seen counts as
/// none: opening it reports the error.
pub fn size_of(path: &Path) -> u64 {
    let size = |path: &Path| match storage::stat(path) {
        Ok(Some(stat)) if stat.is_file() => stat.len(),
        _ => 0,
    };
    let real = storage::canonicalize(path).ok().flatten().unwrap_or_else(|| path.to_path_buf());
    let directory = if is_checkpoint(&real) { shards_directory(&real) } else { real };
    let others = storage::list(&directory).ok().flatten().unwrap_or_default();
    others.iter().map(|path| size(path)).fold(size(path), u64::saturating_add)
}

/// A bar on standard error, shown when the work takes long.
struct Progress {
    bar: ProgressBar,
    begun: Instant,
    /// Whether the bar is shown already, or standard error is not a terminal.
    is_decided: AtomicBool,
    done: AtomicU64,
}

impl Progress {
    fn new(files: &[Vec<usize>], paths: &[PathBuf]) -> Self {
        let bytes: u64 =
            files.iter().filter_map(|names| names.first()).map(|name| size_of(&paths[*name])).sum();
        // Each file is read once for its own digest and once for its tensors'.
        Self::over(2 * bytes)
    }

    fn over(bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let template = "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let is_terminal = io::stderr().is_terminal();
        let progress = Self {
            bar,
            begun: Instant::now(),
            is_decided: AtomicBool::new(!is_terminal),
            done: AtomicU64::new(0),
        };
        if bytes > 2 * SMALL {
            progress.show();
        }
        progress
    }

    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.begun.elapsed() > QUICK {
            self.show();
        }
        self.bar.set_position(self.done.load(Ordering::Relaxed));
    }

    fn show(&self) {
        if !self.is_decided.swap(true, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}
