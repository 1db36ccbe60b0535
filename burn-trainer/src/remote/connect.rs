//! Connecting the devices of a run, all at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::{RemoteAddress, Token};
use crate::error::{Error, Result};
use crate::progress::warn;

/// Longer than burn itself tries.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Connects these devices, each on a thread of its own: one that does not answer yet is tried for 16 seconds.
///
/// With `leave_out`, for a run that is started again after it lost a device, one that cannot be connected is said in a
/// warning and is `None`; a refusal is an error still.
///
/// # Errors
///
/// [`Error::RemoteDevice`] for the first device that cannot be connected.
pub fn connect(
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    let connecting: Vec<_> = addresses
        .iter()
        .map(|address| {
            let (to, token) = (address.clone(), token.cloned());
            let (done, connected) = mpsc::channel();
            // On a machine that has stopped, the system accepts connections still, and burn waits for ever.
            let thread = thread::Builder::new().spawn(move || done.send(to.connect(token.as_ref())));
            (address, thread.map(|_| connected))
        })
        .collect();
    let deadline = Instant::now() + CONNECT_WITHIN;
    let connected = connecting.into_iter().map(|(address, connecting)| {
        let failed =
            |reason: String| Error::RemoteDevice { device: address.to_string(), reason, is_there: false };
        let connecting = connecting.map_err(|error| failed(error.to_string()))?;
        match connecting.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(connected) => connected,
            Err(RecvTimeoutError::Timeout) => Err(failed(format!("no answer within {CONNECT_WITHIN:?}"))),
            Err(RecvTimeoutError::Disconnected) => Err(failed("burn has panicked".to_owned())),
        }
    });
    connected
        .map(|connected| match connected {
            Ok(device) => Ok(Some(device)),
            Err(error @ Error::RemoteDevice { is_there: false, .. }) if leave_out => {
                warn(&format!("{error}; the run goes on without it"));
                Ok(None)
            }
            Err(error) => Err(error),
        })
        .collect()
}
