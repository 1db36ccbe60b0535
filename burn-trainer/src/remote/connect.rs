//! Connecting the devices of a run, all at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::address::RemoteAddress;
use super::token::Token;
use crate::error::{Error, Result};
use crate::process::console::warn;
use crate::process::progress::figures::span;

/// The limit for connecting all devices: longer than burn's own limits. burn has none for a host that does
/// not exist, where the operating system decides, nor for a program that accepts the connection and sends
/// nothing. A stopped process is such a one, since the system accepts connections for it.
const LIMIT: Duration = Duration::from_secs(45);

/// Connects these devices, each on a thread of its own. While a server does not answer, burn tries for 16
/// seconds, over Iroh for 30. After 45 seconds this function waits for none of them.
///
/// `leave_out` is for a run that is started again after it lost a device: a device that cannot be connected
/// is then a warning and `None`. A server that rejects the session is still an error.
///
/// # Errors
///
/// [`Error::RemoteDevice`] for the first device that cannot be connected.
///
/// # Example
///
/// ```no_run
/// use burn_trainer::remote::{RemoteAddress, Token, connect};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let address: RemoteAddress = "remote:ws://gpu1:3000#0".parse()?;
/// let token = Token::from_file_or_env(Some("token".as_ref()))?;
/// let devices = connect(&[address], token.as_ref(), false)?; // for `Trainer::devices`
/// # Ok(()) }
/// ```
pub fn connect(
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    connect_within(LIMIT, addresses, token, leave_out)
}

fn connect_within(
    limit: Duration,
    addresses: &[RemoteAddress],
    token: Option<&Token>,
    leave_out: bool,
) -> Result<Vec<Option<Device>>> {
    let deadline = Instant::now() + limit;
    let connecting: Vec<_> = addresses
        .iter()
        .map(|address| {
            let (to, token) = (address.clone(), token.cloned());
            let (done, connected) = mpsc::channel();
            let thread = thread::Builder::new().spawn(move || {
                // Sending fails after the deadline.
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
                Err(failed(format!("it has not answered for {}; {advice}", span(limit.as_secs_f64())), false))
            }
            Err(RecvTimeoutError::Disconnected) => Err(failed("burn has panicked".to_owned(), true)),
        }
    });
    connected
        .map(|connected| match connected {
            Ok(device) => Ok(Some(device)),
            Err(error @ Error::RemoteDevice { is_there: false, .. }) if leave_out => {
                warn(&format!("{error}; the run continues without it"));
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
    fn a_program_that_accepts_the_connection_and_sends_nothing_times_out() {
        // The operating system accepts the connection.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = RemoteAddress::websocket(silent.local_addr().unwrap().to_string());
        let limit = Duration::from_millis(100);
        let error = connect_within(limit, std::slice::from_ref(&address), None, false).unwrap_err();
        assert!(error.to_string().contains("has not answered for 0.1 s"), "{error}");
        let left_out = connect_within(limit, &[address], None, true).unwrap();
        assert_eq!(left_out, [None]);
    }
}
