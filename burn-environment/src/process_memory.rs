//! The memory of this process, and how much more the system has for it.

use std::fs;

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

const STATUS: &str = "/proc/self/status";
/// Writing [`NEW_PEAK`] to it has the kernel forget the peak.
const CLEAR: &str = "/proc/self/clear_refs";
const NEW_PEAK: &str = "5";

/// The main memory that this process uses, in bytes.
///
/// ```no_run
/// use burn_environment::ProcessMemory;
///
/// if let Some(memory) = ProcessMemory::now() {
///     println!("{} bytes, {} at most", memory.resident, memory.peak);
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessMemory {
    /// What it uses now.
    pub resident: u64,
    /// The most that it has used, since it began or since [`begin_peak`](Self::begin_peak).
    pub peak: u64,
}

impl ProcessMemory {
    /// What the kernel says. `None` where it does not: elsewhere than on Linux.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::in_status(&fs::read_to_string(STATUS).ok()?)
    }

    /// Begins another peak. Where the kernel does not do that, the peak stays.
    pub fn begin_peak() {
        // A sandbox can keep the file from being written.
        let _ = fs::write(CLEAR, NEW_PEAK);
    }

    fn in_status(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kibibytes.checked_mul(1024)
        };
        Some(Self { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }
}

/// How much more memory this process can get before the system has none left, or before a limit of its
/// container or job. `None` where that is not known.
///
/// ```no_run
/// println!("{:?} bytes", burn_environment::available_memory());
/// ```
#[must_use]
pub fn available_memory() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let mut system = System::new_with_specifics(memory);
    let of_the_system = Some(system.available_memory()).filter(|bytes| *bytes > 0);
    let process = Pid::from_u32(std::process::id());
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[process]),
        false,
        ProcessRefreshKind::nothing(),
    );
    let of_the_group = system.process(process).and_then(|process| process.cgroup_limits());
    let of_the_group = of_the_group.map(|limits| limits.free_memory);
    // sysinfo says zero where it knows nothing.
    of_the_system.into_iter().chain(of_the_group).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_both_numbers_in_kibibytes() {
        let status = "Name:\tprogram\nVmPeak:\t   99 kB\nVmHWM:\t    30 kB\nVmRSS:\t    20 kB\nThreads:\t1\n";
        let memory = ProcessMemory::in_status(status).unwrap();
        assert_eq!((memory.resident, memory.peak), (20 * 1024, 30 * 1024));
        assert_eq!(ProcessMemory::in_status("VmHWM:\t30 kB\n"), None);
        assert_eq!(ProcessMemory::in_status("VmHWM:\t30 kB\nVmRSS:\t20 pages\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_rises_with_what_is_used() {
        const BYTES: usize = 64 << 20;
        let before = ProcessMemory::now().unwrap();
        let used = std::hint::black_box(vec![1_u8; BYTES]);
        let with_it = ProcessMemory::now().unwrap();
        // Some pages are counted late.
        assert!(with_it.peak >= before.resident + BYTES as u64 * 9 / 10, "{before:?} {with_it:?}");
        drop(used);
        let after = ProcessMemory::now().unwrap();
        assert!(after.peak >= with_it.peak * 9 / 10, "{with_it:?} {after:?}");
        assert!(available_memory().unwrap() > 0);
    }
}
