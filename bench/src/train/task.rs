//! What one process trains and what it measures: given and printed as JSON, by this program's own processes
//! and by the peers in Python.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::Network;

/// The hidden verb of the program's own processes, followed by the name of the loop and the task. A program
/// with other verbs hands them to [`main_with`](super::main_with).
pub const VERB: &str = "train-alone";

/// What one process trains.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The network, with everything that its parameters follow from.
    pub(crate) network: Network,
    /// Items in a batch.
    pub(crate) batch: usize,
    /// Steps that are not counted: they allocate, compile and choose.
    pub(crate) warm_up: usize,
    /// Steps that are counted.
    pub(crate) steps: usize,
    /// Saves after each so many steps, or never.
    pub(crate) save_every: usize,
    /// Threads that compute.
    pub(crate) threads: usize,
    /// What to compute on: the name of a backend. A peer computes on the CPU for `flex`, else on the GPU.
    pub(crate) backend: String,
    /// Has the data, in files that the peers read: `text` (bytes), `images` (f32), `labels` (bytes).
    pub(crate) dir: PathBuf,
    /// Where a run of this process may write.
    pub(crate) run_dir: PathBuf,
    /// When the process was started, in seconds since 1970.
    pub(crate) started: f64,
    /// Says where its time goes, too: a peer by its own profiler.
    pub(crate) profile: bool,
}

/// What a process has measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measured {
    /// Parameters that are trained.
    pub(crate) parameters: u64,
    /// Seconds from the start of the process to the end of its first step.
    pub(crate) first_step: f64,
    /// Seconds of the steps that are counted, all together.
    pub(crate) seconds: f64,
    /// Seconds of the processors in them.
    pub(crate) cpu_seconds: f64,
    /// The mean of the loss over all steps, where the loop tells it.
    pub(crate) loss: Option<f64>,
    /// States that were saved in all, the one at the end included.
    pub(crate) saves: Option<u64>,
    /// Saves that were left out because the one before was still written.
    pub(crate) skipped_saves: Option<u64>,
    /// The peak of the process's memory, in bytes.
    pub(crate) peak: Option<u64>,
    /// The most that the process had allocated on the device, in bytes, where it can tell.
    pub(crate) device_peak: Option<u64>,
    /// The package that trained, and its version.
    pub(crate) version: Option<String>,
    /// Seconds of the counted steps by operation, where a profile was asked for and the process makes one.
    pub(crate) operations: Vec<(String, f64)>,
}
