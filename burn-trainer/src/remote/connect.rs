//! Connecting the devices of a run, all at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::{RemoteAddress, Token};
use crate::error::{Error, Result};
use crate::progress::warn;

/// How long all of that may take. burn waits for as long as the operating system does for a host that is not there, and for
/// ever for a program that takes the connection and says nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Connects these devices, each on a thread of its own: one that does not answer yet is tried for 16 seconds, and after a
/// minute none is waited for any more.
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
    connect_within(PATIENCE, addresses, token, leave_out)
}

fn connect_within(
    patience: Duration,
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    let deadline = Instant::now() + patience;
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
            let (over, done) = mpsc::channel::<()>();
            let thread = thread::Builder::new().spawn(move || {
                // Goes with the thread's end, however it comes.
                let _over = over;
                to.connect(token.as_ref())
            });
            (address, thread, done)
        })
        .collect();
    let connected = connecting.into_iter().map(|(address, thread, done)| {
        let failed =
            |reason: String| Error::RemoteDevice { device: address.to_string(), reason, is_there: true };
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if done.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let reason =
                format!("it has not answered for {patience:?}; see that it is a server of burn's there");
            return Err(Error::RemoteDevice { device: address.to_string(), reason, is_there: false });
        }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_takes_the_connection_and_says_nothing_is_not_waited_for() {
        // The operating system takes it.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = RemoteAddress::websocket(silent.local_addr().unwrap().to_string());
        let patience = Duration::from_millis(100);
        let error = connect_within(patience, std::slice::from_ref(&address), None, false).unwrap_err();
        assert!(error.to_string().contains("has not answered for 100ms"), "{error}");
        let left_out = connect_within(patience, &[address], None, true).unwrap();
        assert_eq!(left_out, [None]);
    }
}
