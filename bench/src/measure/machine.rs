//! The machine that the figures are of: what it is, and how much memory and disk are free.

use std::path::Path;

use burn_environment::Environment;

use super::kernel_counters::field;

/// The machine, as lines of the page.
#[must_use]
pub fn described(root: &Path) -> Vec<String> {
    let Environment { hardware, os, rust, git, .. } = Environment::collect();
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let count = |count: Option<u64>| known(count.map(|count| count.to_string()));
    let memory = hardware.memory_bytes.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9));
    let commit = git.and_then(|git| Some((git.commit?, git.dirty)));
    let mut lines = vec![
        format!(
            "processor: {}, {} logical; memory: {}",
            known(hardware.cpu_model),
            count(hardware.cpu_count),
            known(memory)
        ),
        format!("file system: {}", known(file_system(root))),
        format!("system: {} {}, kernel {}", known(os.name), known(os.version), known(os.kernel)),
        format!("program: {} build, {}", known(rust.profile), known(rust.version)),
    ];
    if let Some((commit, dirty)) = commit {
        let changes = if dirty == Some(true) { ", with changes" } else { "" };
        lines.push(format!("commit: {commit}{changes}"));
    }
    lines
}

/// Bytes of memory that are available without swapping, where the system reports it.
#[must_use]
pub fn available_memory() -> Option<u64> {
    Some(field(Path::new("/proc/meminfo"), "MemAvailable:")? * 1024)
}

/// Bytes that are free on the disk of a directory.
#[cfg(unix)]
#[must_use]
pub fn free_disk(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

/// Unknown: only Unix is asked.
#[cfg(not(unix))]
#[must_use]
pub fn free_disk(_dir: &Path) -> Option<u64> {
    None
}

/// Waits until all writes are on disk, so that one contender's writes do not slow the next one down.
pub fn settle_disk() {
    #[cfg(unix)]
    rustix::fs::sync();
}

/// The kind of the file system that a directory is on, and what it is mounted with.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounted_at(&dir, &mounts)
}

/// The one whose mount point is the deepest around the directory; of several at one point the last.
fn mounted_at(dir: &Path, mounts: &str) -> Option<String> {
    let around = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (point, kind, options) = (Path::new(fields.next()?), fields.next()?, fields.next()?);
        dir.starts_with(point).then(|| (point.components().count(), format!("{kind} ({options})")))
    });
    around.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_around_a_directory_counts() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,size=1g 0 0\n/dev/vdb /tmpfiles xfs ro 0 0\n";
        assert_eq!(mounted_at(Path::new("/tmp/a"), mounts).unwrap(), "tmpfs (rw,size=1g)");
        assert_eq!(mounted_at(Path::new("/home"), mounts).unwrap(), "ext4 (rw)");
        assert_eq!(mounted_at(Path::new("/home"), ""), None);
    }
}
