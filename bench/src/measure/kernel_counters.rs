//! Counters of the Linux kernel: processor time of this and of other programs, and bytes over the loopback
//! interface.

use std::path::Path;

/// Linux's unit of a process's times, on all of its machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// How busy other programs keep the processors while this program and its child processes run.
#[derive(Debug, Clone, Copy)]
pub struct OtherPrograms(Option<Ticks>);

/// Ticks of the system's clock, since it was started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    all: u64,
    busy: u64,
    ours: u64,
}

impl OtherPrograms {
    /// Starts counting.
    #[must_use]
    pub fn watch() -> Self {
        Self(Ticks::now())
    }

    /// The share of all processors that other programs used until now, where the system reports it.
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

    /// Bytes over the loopback interface between the two readings.
    #[must_use]
    pub fn loopback_until(&self, later: &Self) -> Option<u64> {
        later.loopback?.checked_sub(self.loopback?)
    }

    /// The share of all processors that was busy between the two readings, with any program.
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

    /// From the first line of `/proc/stat`, and from the times of a process and of its ended children in its
    /// `stat`.
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

/// Seconds that the processors have worked for this process, as far as the kernel tells.
#[must_use]
pub fn processor_time() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = times.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields.get(11..13)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// The number behind a name in one of the files below `/proc`.
#[must_use]
pub fn field(file: &Path, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn work_of_a_thread_counts_as_this_process_s() {
        let before = processor_time().unwrap();
        let work = move || while processor_time().unwrap() < before + 0.1 {};
        std::thread::spawn(work).join().unwrap();
        assert!(processor_time().unwrap() >= before + 0.1);
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
}
