//! The machine that the figures are of: what it is, what room it has, how busy it is, and what crosses its loopback
//! interface.

use std::path::Path;

use burn_environment::Environment;

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

/// Bytes that can be used without pushing anything out, where the system says it.
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

/// Nobody asked.
#[cfg(not(unix))]
#[must_use]
pub fn free_disk(_dir: &Path) -> Option<u64> {
    None
}

/// Waits until the disk has everything, so that one contender's writes do not slow the next one down.
pub fn settle_disk() {
    #[cfg(unix)]
    rustix::fs::sync();
}

/// How busy others keep the processors while this program and those that it starts run.
#[derive(Debug, Clone, Copy)]
pub struct Others(Option<Ticks>);

/// Ticks of the system's clock, since it was started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    all: u64,
    busy: u64,
    ours: u64,
}

impl Others {
    /// From now on.
    #[must_use]
    pub fn watch() -> Self {
        Self(Ticks::now())
    }

    /// The share of all processors that others used until now, where the system says it.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        Some(self.0?.until(Ticks::now()?))
    }
}

/// Counters of the kernel, as far as it has them.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    /// Bytes that came in over the loopback interface, headers included: everything that was sent over it.
    loopback: Option<u64>,
    ticks: Option<Ticks>,
}

impl Counters {
    /// As they are now.
    #[must_use]
    pub fn now() -> Self {
        Self { loopback: field(Path::new("/proc/net/dev"), "lo:"), ticks: Ticks::now() }
    }

    /// Bytes over the loopback interface from here until then.
    #[must_use]
    pub fn loopback_until(&self, later: &Self) -> Option<u64> {
        later.loopback?.checked_sub(self.loopback?)
    }

    /// The share of all processors that was busy from here until then, with whatever.
    #[must_use]
    pub fn busy_until(&self, later: &Self) -> Option<f64> {
        let (ticks, later) = (self.ticks?, later.ticks?);
        let all = later.all.checked_sub(ticks.all).filter(|all| *all > 0)?;
        Some(later.busy.saturating_sub(ticks.busy) as f64 / all as f64)
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let read = |file| std::fs::read_to_string(file).ok();
        Self::of(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    /// From the first line of the one, and the times of a process and of its children that have ended in the other.
    fn of(machine: &str, process: &str) -> Option<Self> {
        let all: Vec<u64> = machine
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        // Guests' ticks are in the user's too; what the host stole is not idle.
        let all = all.get(..8)?;
        let idle = all[3] + all[4];
        // The name of the program may have anything in it.
        let (_, fields) = process.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ours = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let all: u64 = all.iter().sum();
        Some(Self { all, busy: all - idle, ours })
    }

    fn until(&self, later: Self) -> f64 {
        let busy = (later.busy - self.busy).saturating_sub(later.ours - self.ours);
        busy as f64 / (later.all - self.all).max(1) as f64
    }
}

/// The number behind a name in one of the system's lists.
#[must_use]
pub fn field(file: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn what_others_used_is_what_was_busy_and_not_ours() {
        let before =
            Ticks::of("cpu  10 0 10 70 5 1 1 3 0 0\ncpu0 1\n", "1 (a) b) R 1 1 1 0 0 0 0 0 0 0 5 5 0 0 20")
                .unwrap();
        assert_eq!(before, Ticks { all: 100, busy: 25, ours: 10 });
        let after = Ticks { all: 300, busy: 125, ours: 70 };
        assert!((before.until(after) - 0.2).abs() < 1e-9);
        assert_eq!(Ticks::of("", ""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn bytes_that_cross_the_loopback_interface_are_counted() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 50_000];
        let before = Counters::now();
        sender.write_all(&bytes).unwrap();
        receiver.read_exact(&mut bytes).unwrap();
        let crossed = before.loopback_until(&Counters::now()).unwrap();
        assert!(crossed >= 50_000, "{crossed}");
    }

    #[test]
    fn the_deepest_mount_around_a_directory_counts() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,size=1g 0 0\n/dev/vdb /tmpfiles xfs ro 0 0\n";
        assert_eq!(mounted_at(Path::new("/tmp/a"), mounts).unwrap(), "tmpfs (rw,size=1g)");
        assert_eq!(mounted_at(Path::new("/home"), mounts).unwrap(), "ext4 (rw)");
        assert_eq!(mounted_at(Path::new("/home"), ""), None);
    }
}
