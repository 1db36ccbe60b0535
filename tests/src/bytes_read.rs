//! How much a piece of code reads from files, by the kernel's count.

/// Bytes that this thread reads meanwhile, with what comes of it.
///
/// # Panics
///
/// Where the kernel keeps no such count.
pub fn bytes_read<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let (before, asking) = so_far();
    let result = work();
    (result, so_far().0 - before - asking)
}

/// Bytes that this process has read so far, on whichever of its threads.
///
/// # Panics
///
/// Where the kernel keeps no such count.
#[must_use]
pub fn bytes_read_by_process() -> u64 {
    count_in("/proc/self/io").0
}

/// Bytes that this thread has read, and those that asking for them adds.
fn so_far() -> (u64, u64) {
    count_in("/proc/thread-self/io")
}

fn count_in(file: &str) -> (u64, u64) {
    let io = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
    (read.unwrap_or_else(|| panic!("no count in {io}")), io.len() as u64)
}
