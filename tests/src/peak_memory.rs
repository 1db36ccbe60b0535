//! The most memory that this process had at once.

/// The most memory of this process at once so far, in bytes, or since `from_now` was last true. 0 where the
/// system does not tell.
#[must_use]
pub fn peak_memory(from_now: bool) -> u64 {
    if from_now && std::fs::write("/proc/self/clear_refs", "5").is_err() {
        return 0;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
