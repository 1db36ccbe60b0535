//! Connecting the devices of a run, all at once.

use std::thread;

use burn::tensor::Device;

use super::{RemoteAddress, Token};
use crate::error::{Error, Result};
use crate::progress::warn;

/// Connects these devices, each on a thread of its own: one that does not answer yet is tried for 16 seconds.
///
/// With `leave_out`, for a run that is started again after it lost a device, one that cannot be connected is said in a
/// warning and is `None`; a refusal is an error still.
///
/// # Errors
///
/// [`Error::RemoteDevice`] for the first device that cannot be connected, and [`Error::Config`] where WebSocket and Iroh
/// are mixed: burn moves no tensor from the one to the other.
pub fn connect(
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    if let Some(other) = addresses.iter().find(|address| address.is_iroh() != addresses[0].is_iroh()) {
        let reason = format!(
            "{} and {other} cannot be used together: burn moves tensors between WebSocket servers, or between Iroh servers",
            addresses[0]
        );
        return Err(Error::config("the devices", reason));
    }
    let connecting: Vec<_> = addresses
        .iter()
        .map(|address| {
            let (to, token) = (address.clone(), token.cloned());
            (address, thread::Builder::new().spawn(move || to.connect(token.as_ref())))
        })
        .collect();
    let connected = connecting.into_iter().map(|(address, thread)| {
        let failed =
            |reason: String| Error::RemoteDevice { device: address.to_string(), reason, is_there: true };
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        thread.join().unwrap_or_else(|panic| Err(failed(burn_ckpt::panic_message(&*panic))))
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
