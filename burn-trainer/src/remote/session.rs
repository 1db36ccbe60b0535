//! Opens a device of another machine: burn's session with its server.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use burn::remote::ConnectError;
use burn::tensor::Device;
use burn_environment::device_name;

use super::address::RemoteAddress;
use super::registry;
use super::token::Token;
use crate::error::{Error, Result};

impl RemoteAddress {
    /// Connects the device. burn tries for 16 seconds while nothing answers. A device that is connected
    /// already is returned as it is.
    ///
    /// # Errors
    ///
    /// [`Error::RemoteDevice`] when there is no server, or when it rejects the session. The message says what
    /// to do.
    pub fn connect(&self, token: Option<&Token>) -> Result<Device> {
        let device = open(self, process_name(), token)?;
        registry::remember(device_name(&device), self, token);
        Ok(device)
    }
}

/// Connects the device by a second session, beside that of [`RemoteAddress::connect`]. Only a WebSocket
/// server has one: over Iroh it is the same session.
pub(super) fn connect_aside(address: &RemoteAddress, token: Option<&Token>) -> Result<Device> {
    open(address, &format!("{}-aside", process_name()), token)
}

fn open(address: &RemoteAddress, session: &str, token: Option<&Token>) -> Result<Device> {
    let mut host = address.host(session);
    if let Some(token) = token {
        host = host.with_credential(token.as_bytes());
    }
    Device::remote_options(&host).device_index(address.index()).init().map_err(|error| Error::RemoteDevice {
        device: address.to_string(),
        reason: reason(&error, token.is_some()),
        is_there: !matches!(
            error,
            ConnectError::Unreachable { .. } | ConnectError::Handshake { .. } | ConnectError::NoAddress
        ),
    })
}

/// The part of burn's addresses that differs from process to process. It stands where a URL has a user's
/// name.
///
/// The servers of a run fetch tensors from each other by these addresses, and keep one connection for each
/// address forever, also after the other server was restarted: with an address of an earlier process nothing
/// could be fetched. The name is never sent: WebSocket has no user names, and burn's client leaves it out.
fn process_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("p{}-{:x}", std::process::id(), time.as_nanos())
    })
}

/// burn's message, and what to do about it.
fn reason(error: &ConnectError, has_token: bool) -> String {
    let advice = match error {
        ConnectError::Unauthorized if has_token => {
            "the token is not the server's: see that both read the same file"
        }
        ConnectError::Unauthorized => {
            "the server wants a token: give it with --token-file or BURN_REMOTE_TOKEN"
        }
        ConnectError::NoSuchDevice { .. } => "its devices are counted from #0",
        ConnectError::IncompatibleProtocol { .. } => "build both with the same version of burn",
        ConnectError::Unreachable { .. } | ConnectError::NoAddress => {
            "see that the server runs, that this is the address it printed, and that no firewall is between"
        }
        ConnectError::Handshake { .. } => {
            "see that it is a server of burn's there, and of the version that this program is built with"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}
