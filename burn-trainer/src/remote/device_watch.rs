//! Finds out that a device of another machine is lost, and which one.
//!
//! When a server closes a session, burn fails every later read, with a message that names no device. When a
//! machine has stopped, or the network drops everything, a read waits forever. So each of these devices
//! computes a small sum every few seconds, on a thread of its own, which may hang. A device works in the
//! order in which it was given work, so an answer means that it has finished all work before. A device that
//! is busy for longer than the timeout counts as lost too.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use burn_ckpt::plumbing::panic_message;
use burn_environment::device_name;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::device_names::REMOTE;
use super::loss_diagnosis::LostDevices;
#[cfg(feature = "remote")]
use super::wake_transfers::TransferWaker;
use crate::error::{Error, Result};
use crate::process::start_device::compute_test;

/// The longest time between two tests of a device. The test comes four times in the time that a device may be
/// silent.
const TEST_AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// The longest that a server may take to answer a new connection.
const SERVER_ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// The longest that devices may take to answer when something has failed, which may be one of them.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Watches the devices of other machines until it and its clones are dropped.
#[derive(Clone)]
pub(crate) struct DeviceWatch(Arc<WatchOwner>);

/// Ends the watch when the last clone is dropped.
struct WatchOwner {
    shared: Arc<SharedWatch>,
    #[cfg(feature = "remote")]
    _transfers: Option<TransferWaker>,
}

impl Drop for WatchOwner {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

struct SharedWatch {
    /// How long a device may be silent.
    silence: Duration,
    /// How long a server may take to answer a new connection.
    server_limit: Duration,
    state: Mutex<WatchState>,
    changed: Condvar,
}

struct WatchState {
    devices: Vec<WatchedDevice>,
    /// The number of tests of all devices by [`DeviceWatch::test_now`].
    tests: u64,
    ended: bool,
}

struct WatchedDevice {
    name: String,
    /// When it last answered.
    answered: Instant,
    /// The last of these tests that it has answered.
    test_answered: u64,
    /// The message with which it failed.
    failed: Option<String>,
}

impl DeviceWatch {
    /// Watches the devices of other machines among `devices`. `None` when there are none. A device may be
    /// silent for three quarters of `timeout`. The rest is for ending the run.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the system gives no thread.
    pub(crate) fn start(devices: &[Device], timeout: Duration) -> Result<Option<Self>> {
        let mut seen = HashSet::new();
        let remote: Vec<(String, Device)> = devices
            .iter()
            .map(|device| (device_name(device), device.clone().without_autodiff()))
            .filter(|(name, _)| name.starts_with(REMOTE) && seen.insert(name.clone()))
            .collect();
        if remote.is_empty() {
            return Ok(None);
        }
        let watched = |(name, _): &(String, Device)| WatchedDevice {
            name: name.clone(),
            answered: Instant::now(),
            test_answered: 0,
            failed: None,
        };
        let state = WatchState { devices: remote.iter().map(watched).collect(), tests: 0, ended: false };
        let shared = Arc::new(SharedWatch {
            silence: timeout / 4 * 3,
            server_limit: SERVER_ANSWER_LIMIT.min(timeout / 16),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        for (position, (_, device)) in remote.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("burn-trainer-watch-{position}"))
                .spawn(move || shared.watch_one(position, &device))
                .map_err(|error| Error::config("the devices", format!("no thread to watch them: {error}")))?;
        }
        #[cfg(feature = "remote")]
        let transfers = TransferWaker::start(&shared.names());
        Ok(Some(Self(Arc::new(WatchOwner {
            shared,
            #[cfg(feature = "remote")]
            _transfers: transfers,
        }))))
    }

    /// The devices that are known to be lost.
    pub(crate) fn lost(&self) -> Option<LostDevices> {
        let shared = &self.0.shared;
        let (failed, silent) = {
            let state = shared.lock();
            let failed: Vec<(String, String)> = state
                .devices
                .iter()
                .filter_map(|device| Some((device.name.clone(), device.failed.clone()?)))
                .collect();
            let silent = state.silent(|device| device.answered.elapsed() >= shared.silence);
            (failed, silent)
        };
        LostDevices::failed(&failed)
            .or_else(|| LostDevices::silent(silent, shared.silence))
            .map(|lost| lost.named_by_their_servers(&shared.names(), shared.server_limit))
    }

    /// Measures silence from now on: this process was stopped itself (ctrl-z, a debugger), and tested nothing
    /// meanwhile.
    pub(crate) fn reset_silence(&self) {
        self.0.shared.lock().devices.iter_mut().for_each(|device| device.answered = Instant::now());
    }

    /// How long a device may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.0.shared.silence
    }

    /// Tests all devices now, and waits up to 5 seconds for the answers. Called when something has failed, to
    /// find out whether a device is the reason.
    pub(crate) fn test_now(&self) -> Option<LostDevices> {
        let shared = &self.0.shared;
        let limit = ANSWER_LIMIT.min(shared.silence);
        let deadline = Instant::now() + limit;
        let mut state = shared.lock();
        state.tests += 1;
        let test = state.tests;
        shared.changed.notify_all();
        // One lost device can take others along, whose failure shows a little later. So all answers are
        // waited for.
        while state.devices.iter().any(|device| device.failed.is_none() && device.test_answered < test) {
            if shared.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let silent = state.silent(|device| device.failed.is_none() && device.test_answered < test);
        drop(state);
        self.lost().or_else(|| {
            LostDevices::silent(silent, limit)
                .map(|lost| lost.named_by_their_servers(&shared.names(), shared.server_limit))
        })
    }
}

impl WatchState {
    fn silent(&self, is_silent: impl Fn(&WatchedDevice) -> bool) -> Vec<String> {
        self.devices.iter().filter(|device| is_silent(device)).map(|device| device.name.clone()).collect()
    }
}

impl SharedWatch {
    /// Tests one device again and again, until it fails or the watch ends.
    fn watch_one(&self, position: usize, device: &Device) {
        let interval = (self.silence / 4).min(TEST_AT_LEAST_EVERY);
        loop {
            let test = self.lock().tests;
            let answer = catch_unwind(AssertUnwindSafe(|| compute_test(device)))
                .unwrap_or_else(|panic| Err(panic_message(&*panic)));
            let mut state = self.lock();
            let watched = &mut state.devices[position];
            match answer {
                Ok(()) => (watched.answered, watched.test_answered) = (Instant::now(), test),
                Err(reason) => watched.failed = Some(reason),
            }
            let has_failed = watched.failed.is_some();
            self.changed.notify_all();
            let next = Instant::now() + interval;
            while !has_failed && !state.ended && state.tests == test {
                if self.changed.wait_until(&mut state, next).timed_out() {
                    break;
                }
            }
            if has_failed || state.ended {
                return;
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.lock().devices.iter().map(|device| device.name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_this_machine_are_not_watched() {
        assert!(DeviceWatch::start(&[Device::default()], Duration::from_secs(1)).unwrap().is_none());
    }
}
