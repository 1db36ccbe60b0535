//! The memory of this process, and how much more the system has for it.

use std::fs;
use std::path::{Path, PathBuf};

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

const STATUS: &str = "/proc/self/status";
/// Writing [`NEW_PEAK`] to it has the kernel forget the peak.
const CLEAR: &str = "/proc/self/clear_refs";
const NEW_PEAK: &str = "5";
/// The control groups of this process.
const GROUPS: &str = "/proc/self/cgroup";
/// Where the groups are, and those of their first version that limit memory.
const GROUP_ROOT: &str = "/sys/fs/cgroup";
const FIRST_GROUP_ROOT: &str = "/sys/fs/cgroup/memory";

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
    // Without a limit of its own a group can get what the system has. The kernel counts cached files as used
    // memory of the group, and drops them where a process needs more.
    let of_the_group = of_the_group.filter(|limits| limits.total_memory < system.total_memory());
    let of_the_group = of_the_group.map(|limits| {
        limits.total_memory.min(limits.free_memory.saturating_add(cached_files_of_the_group()))
    });
    // sysinfo says zero where it knows nothing.
    of_the_system.into_iter().chain(of_the_group).min()
}

/// The bytes of cached files in this process's group that are used least.
fn cached_files_of_the_group() -> u64 {
    let groups = fs::read_to_string(GROUPS).unwrap_or_default();
    let cached = statistics_of_memory(&groups).into_iter().find_map(|(file, name)| {
        let statistics = fs::read_to_string(file).ok()?;
        statistic(&statistics, name)
    });
    cached.unwrap_or(0)
}

/// The files that can have the statistics of the group's memory, and what cached files are called in each.
fn statistics_of_memory(groups: &str) -> Vec<(PathBuf, &'static str)> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let (root, name) = match controllers {
            "" => (GROUP_ROOT, "inactive_file"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (FIRST_GROUP_ROOT, "total_inactive_file")
            }
            _ => return None,
        };
        Some((Path::new(root).join(group.trim_start_matches('/')).join("memory.stat"), name))
    };
    groups.lines().filter_map(of_line).collect()
}

fn statistic(statistics: &str, name: &str) -> Option<u64> {
    let value = statistics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
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

    #[test]
    fn cached_files_are_in_the_statistics_of_the_groups_memory() {
        let of = |groups: &str| statistics_of_memory(groups);
        let second = PathBuf::from("/sys/fs/cgroup/user.slice/job-1/memory.stat");
        assert_eq!(of("0::/user.slice/job-1\n"), [(second, "inactive_file")]);
        let first = PathBuf::from("/sys/fs/cgroup/memory/slurm/job:7/memory.stat");
        let of_all = PathBuf::from("/sys/fs/cgroup/memory.stat");
        let expected = [(first, "total_inactive_file"), (of_all, "inactive_file")];
        assert_eq!(of("7:cpuset:/a\n4:cpu,memory:/slurm/job:7\n0::/\nnothing\n"), expected);
        let statistics = "anon 5\ninactive_file 4096\nactive_file 8\ntotal_inactive_file 12288\n";
        assert_eq!(statistic(statistics, "inactive_file"), Some(4096));
        assert_eq!(statistic(statistics, "total_inactive_file"), Some(12288));
        assert_eq!(statistic(statistics, "inactive"), None);
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
