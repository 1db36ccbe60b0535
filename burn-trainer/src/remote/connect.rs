//! Connecting the devices of a run, all at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::{RemoteAddress, Token};
use crate::error::{Error, Result};
use crate::process::console::warn;

/// How long all of that may take: longer than burn needs to say itself that nobody answers. For a host that is not there, burn
/// waits for as long as the operating system does, and for ever for a program that takes the connection and says
/// nothing, as the system does for one that has stopped.
const PATIENCE: Duration = Duration::from_secs(45);

/// Connects these devices, each on a thread of its own: one that does not answer yet is tried for 16 seconds, over Iroh for
/// 30, and after 45 none is waited for any more.
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
    connect_within(PATIENCE, addresses, token, leave_out)
}

fn connect_within(
    patience: Duration,
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    let deadline = Instant::now() + patience;
    let connecting: Vec<_> = addresses
        .iter()
        .map(|address| {
            let (to, token) = (address.clone(), token.cloned());
            let (done, connected) = mpsc::channel();
            let thread = thread::Builder::new().spawn(move || {
                // Nobody waits any more for one that takes too long.
                let _ = done.send(to.connect(token.as_ref()));
            });
            (address, thread.map(|_| connected))
        })
        .collect();
    let connected = connecting.into_iter().map(|(address, connecting)| {
        let failed =
            |reason: String, is_there| Error::RemoteDevice { device: address.to_string(), reason, is_there };
        let connecting = connecting.map_err(|error| failed(error.to_string(), true))?;
        match connecting.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(connected) => connected,
            Err(RecvTimeoutError::Timeout) => {
                let advice = "see that it is a server of burn's there";
                Err(failed(format!("it has not answered for {patience:?}; {advice}"), false))
            }
            Err(RecvTimeoutError::Disconnected) => Err(failed("burn has panicked".to_owned(), true)),
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
