//! What a contender's process measures: moments, sizes and times. The process prints them as one JSON object
//! on its last line, and so do the peers in Python.

use std::path::Path;
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::measure::kernel_counters::field;

pub use crate::measure::save_cost::{Moment, SaveTimes};
pub use crate::measure::timing::{best, median, seconds};

/// Steps that are not counted: they allocate memory for the first time.
pub const WARM_UP: usize = 3;

/// What a process of a contender measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// The packages that it used, with their versions.
    pub versions: IndexMap<String, String>,
    /// When each training step began.
    pub begins: Vec<Moment>,
    /// The saves that were made while the loop trained, in their order.
    pub saves: Vec<SaveTimes>,
    /// A save at the end, while the loop waited.
    pub idle: Option<SaveTimes>,
    /// The step in which a save falls has this length without one (a validation may be in it); as the others,
    /// if not given.
    pub step_of_save: Option<f64>,
    /// Saves that came every few steps.
    pub steady: Option<Steady>,
    /// Sizes of the files of one save, a file with several names once.
    pub bytes: Option<u64>,
    /// Bytes written to disk by the process, for each save.
    pub written: Option<u64>,
    /// The peak of the process's memory, in bytes.
    pub peak: Option<u64>,
    /// Times to load, and others, by their names.
    pub times: IndexMap<String, Vec<f64>>,
    /// Notes for the page.
    pub notes: Vec<String>,
}

/// What saves that come every few steps cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// Steps from one save to the next.
    pub every: u64,
    /// Saves that were counted.
    pub saves: usize,
    /// An undisturbed step.
    pub step: f64,
    /// How much longer a save made the loop.
    pub lost: f64,
    /// Saves that were skipped because the queue was full.
    pub skipped: u64,
}

/// Now.
#[must_use]
pub fn now() -> Moment {
    moment(SystemTime::now())
}

/// A moment of the system's clock.
#[must_use]
pub fn moment(time: SystemTime) -> Moment {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// The peak of this process's memory in bytes, where the system reports it.
#[must_use]
pub fn peak_of_this_process() -> Option<u64> {
    Some(field(Path::new("/proc/self/status"), "VmHWM:")? * 1024)
}

/// Bytes that this process has written to disk, where the system reports it.
#[must_use]
pub fn written_by_this_process() -> Option<u64> {
    field(Path::new("/proc/self/io"), "write_bytes:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_prints_is_read_back() {
        let measured = Measurement {
            begins: vec![1.5, 2.5],
            saves: vec![SaveTimes { asked: 1.0, returned: 1.25, durable: 2.0 }],
            ..Measurement::default()
        };
        let text = serde_json::to_string(&measured).unwrap();
        let read: Measurement = serde_json::from_str(&text).unwrap();
        assert_eq!((read.begins, read.saves), (measured.begins, measured.saves));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_was_used_counts_to_the_peak_after_it_is_given_back() {
        let before = peak_of_this_process().unwrap();
        let size = before as usize + (64 << 20);
        drop(std::hint::black_box(vec![1_u8; size]));
        assert!(peak_of_this_process().unwrap() >= size as u64);
    }
}
