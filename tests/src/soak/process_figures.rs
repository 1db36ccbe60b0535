//! What a process uses: memory, descriptors, threads. And a long-lived process, in which none of them may
//! grow.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::models::small::{config, train};
use crate::run_files::{files, in_memory};

/// By then everything is there that is made once.
const WARM_UP: usize = 20;
/// A process that keeps 12 KiB more with each of 180 runs is beyond it.
const MOST_GROWTH_KIB: u64 = 2 * 1024;
/// Threads that end by themselves, such as the one that asks git for the commit, have this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// With one arena the allocator returns what is freed. With one for each thread its own changes are larger
/// than a leak.
const ONE_ARENA: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    /// Memory that it has now.
    rss_kib: u64,
    /// Open files, pipes and sockets.
    descriptors: usize,
    /// All of its threads.
    threads: usize,
    /// Files and links of its run.
    files: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rss_kib, descriptors, threads, files } = self;
        write!(f, "{rss_kib} KiB, {descriptors} descriptors, {threads} threads, {files} files")
    }
}

/// Lets the program `soak` in a directory train so many times in one process, which must not grow. Returns
/// its line of figures.
///
/// # Errors
///
/// With what the program says when it fails.
pub fn long_lived_process(programs: &Path, runs: usize) -> Result<String, String> {
    let mut program = Command::new(programs.join(format!("soak{}", std::env::consts::EXE_SUFFIX)));
    let program = program.arg("--long-lived").arg(runs.to_string()).env(ONE_ARENA.0, ONE_ARENA.1);
    let output = program.output().map_err(|error| format!("the long-lived process: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().unwrap_or_default();
    Err(format!("the long-lived process: {}: {last}", output.status))
}

/// Trains the small model so many times in this process, and compares what the process uses after some runs
/// and after all.
///
/// # Errors
///
/// When a run fails, when there are too few, or when one of the figures has grown.
pub fn train_again_and_again(runs: usize) -> Result<String, String> {
    let directory = in_memory();
    let mut early = None;
    for number in 0..runs {
        train(config(directory.path(), 1).with_overwrite(true))
            .map_err(|error| format!("run {number}: {error}"))?;
        if number + 1 == WARM_UP {
            early = Some(Figures::of_this_process(directory.path())?);
        }
    }
    let early =
        early.ok_or_else(|| format!("{runs} runs are too few: they show nothing before {WARM_UP}"))?;
    let begun = Instant::now();
    loop {
        let late = Figures::of_this_process(directory.path())?;
        let is_flat = late.rss_kib <= early.rss_kib + MOST_GROWTH_KIB
            && late.descriptors <= early.descriptors
            && late.threads <= early.threads
            && late.files == early.files;
        if is_flat {
            return Ok(format!("a process after {WARM_UP} runs: {early}; after {runs}: {late}"));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!(
                "a long-lived process grows: after {WARM_UP} runs {early}; after {runs} {late}"
            ));
        }
        std::thread::yield_now();
    }
}

impl Figures {
    fn of_this_process(root: &Path) -> Result<Self, String> {
        let count = |directory: &str| -> Result<usize, String> {
            let entries = std::fs::read_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
            Ok(entries.count())
        };
        Ok(Self {
            rss_kib: memory(std::process::id(), "VmRSS:").ok_or("the process's memory cannot be read")?,
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            files: files(root).len(),
        })
    }
}

/// A line of what the system says of a process's memory, in KiB. `None` where the system or the process is
/// not there.
pub(super) fn memory(process: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let rest = status.lines().find_map(|text| text.strip_prefix(line))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}
