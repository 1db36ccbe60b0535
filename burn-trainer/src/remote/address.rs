//! The name of a device on another machine, and connecting it.
//!
//! ```text
//! remote:ws://HOST:PORT#INDEX
//! remote:iroh:ID@IP:PORT,IP:PORT?relays=RELAYS#INDEX
//! ```

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use burn::remote::{ConnectError, EndpointAddr, EndpointId, IrohHost, IrohRelays, RemoteHost};
use burn::tensor::Device;
use burn_environment::device_name;

use super::{Token, connected, iroh};
use crate::error::{Error, Result};
use crate::remote::device_names::REMOTE;

const FORMS: &str = "remote:ws://HOST:PORT, or remote:iroh:ID@IP:PORT as the server prints it, and #INDEX for another \
                     than its first device";
/// burn numbers a server's devices with 32 bits.
const MAX_INDEX: usize = u32::MAX as usize;

/// How two machines that cannot reach each other directly do so, as burn has it: `public`, `disabled`, or a relay's URL.
pub type Relays = IrohRelays;

/// A device of a server: where that is, and which of its devices. Without credentials, so that it can be printed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteAddress {
    server: Server,
    index: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Server {
    /// `host:port`. Not encrypted.
    WebSocket(String),
    /// Encrypted, and sure to be the server with this key.
    Iroh { id: EndpointId, addresses: Vec<SocketAddr>, relays: Relays },
}

impl RemoteAddress {
    /// The first device of the WebSocket server at `host:port`.
    #[must_use]
    pub fn websocket(host_and_port: impl Into<String>) -> Self {
        Self { server: Server::WebSocket(host_and_port.into()), index: 0 }
    }

    /// The first device of the Iroh server of this identity.
    #[must_use]
    pub fn iroh(id: EndpointId, addresses: Vec<SocketAddr>, relays: Relays) -> Self {
        Self { server: Server::Iroh { id, addresses, relays }, index: 0 }
    }

    /// Another device of the same server.
    #[must_use]
    pub fn with_index(mut self, index: usize) -> Self {
        self.index = index;
        self
    }

    /// Connects the device. burn tries for 16 seconds where nothing answers yet. A device that is connected already is
    /// returned as it is.
    ///
    /// # Errors
    ///
    /// [`Error::RemoteDevice`] when there is no server, or it refuses; it says what to do.
    pub fn connect(&self, token: Option<&Token>) -> Result<Device> {
        let device = self.open(of_this_process(), token)?;
        connected::remember(device_name(&device), self, token);
        Ok(device)
    }

    /// The device through another session than that of [`connect`](Self::connect), where the server is a WebSocket server.
    pub(super) fn connect_aside(&self, token: Option<&Token>) -> Result<Device> {
        self.open(&format!("{}-aside", of_this_process()), token)
    }

    pub(super) fn is_of_the_server_of(&self, other: &Self) -> bool {
        self.server == other.server
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self.server, Server::WebSocket(_))
    }

    /// What is wrong with an Iroh server, as far as somebody sees who only knocks.
    pub(super) fn problem(&self, within: Duration) -> Option<String> {
        let Server::Iroh { id, addresses, relays } = &self.server else { return None };
        let answers = iroh::answers(endpoint_address(*id, addresses), relays, within)?;
        (!answers).then(|| format!("its server does not answer within {within:?}"))
    }

    fn open(&self, name: &str, token: Option<&Token>) -> Result<Device> {
        let mut host = match &self.server {
            Server::WebSocket(host) => RemoteHost::websocket(&format!("ws://{name}@{host}")),
            Server::Iroh { id, addresses, relays } => {
                RemoteHost::iroh(IrohHost::new(endpoint_address(*id, addresses)).with_relays(relays.clone()))
            }
        };
        if let Some(token) = token {
            host = host.with_credential(token.as_bytes());
        }
        Device::remote_options(&host).device_index(self.index).init().map_err(|error| Error::RemoteDevice {
            device: self.to_string(),
            reason: reason(&error, token.is_some()),
            is_there: !matches!(
                error,
                ConnectError::Unreachable { .. } | ConnectError::Handshake { .. } | ConnectError::NoAddress
            ),
        })
    }
}

fn endpoint_address(id: EndpointId, addresses: &[SocketAddr]) -> EndpointAddr {
    addresses.iter().fold(EndpointAddr::from(id), |to, ip| to.with_ip_addr(*ip))
}

/// What stands in the place of a user's name in the addresses that burn is given, and differs from process to process.
///
/// The servers of a run fetch tensors from each other at these addresses, and keep one connection for each address for
/// ever, also when the other server has gone and come back: nothing could be fetched from that one any more. (No
/// name is sent: WebSocket has none, and burn's client leaves it out.)
fn of_this_process() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("p{}-{:x}", std::process::id(), time.as_nanos())
    })
}

/// What burn says, and what to do about it.
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

impl FromStr for RemoteAddress {
    type Err = String;

    /// What is wrong, without the address itself: somebody may have put a password into it.
    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.strip_prefix(REMOTE).ok_or_else(|| format!("a remote device is {FORMS}"))?;
        let (address, index) = match address.split_once('#') {
            Some((address, index)) => (address, parse_index(index)?),
            None => (address, 0),
        };
        let server = if let Some(host) = address.strip_prefix("ws://") {
            parse_websocket(host)?
        } else if let Some(host) = address.strip_prefix("iroh:") {
            parse_iroh(host)?
        } else if address.starts_with("wss://") {
            return Err(
                "burn's WebSocket is not encrypted: ws:// on a network that is trusted, iroh: elsewhere"
                    .into(),
            );
        } else {
            return Err(format!("a remote device is {FORMS}"));
        };
        Ok(Self { server, index })
    }
}

fn parse_index(text: &str) -> Result<usize, String> {
    let index = text.parse().ok().filter(|index| *index <= MAX_INDEX);
    index.ok_or_else(|| "what follows # is not the number of a device".to_owned())
}

fn parse_websocket(text: &str) -> Result<Server, String> {
    if text.contains('@') {
        return Err("an address holds no user and no password: a token is given with --token-file".to_owned());
    }
    let host_and_port = text.strip_suffix('/').unwrap_or(text);
    if host_and_port.contains(|c: char| matches!(c, '/' | '?') || c.is_whitespace() || c.is_control()) {
        return Err("a WebSocket server is ws://HOST:PORT, with nothing after it".to_owned());
    }
    match host_and_port.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse().is_ok_and(|port: u16| port != 0) => {
            Ok(Server::WebSocket(host_and_port.to_owned()))
        }
        _ => Err("a WebSocket server is ws://HOST:PORT; an IPv6 address stands in [..]".to_owned()),
    }
}

fn is_host(host: &str) -> bool {
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match is_v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '[', ']']),
    }
}

fn parse_iroh(text: &str) -> Result<Server, String> {
    let (text, relays) = match text.split_once("?relays=") {
        Some((text, relays)) => (text, Some(relays.parse::<Relays>().map_err(|_| relays_are())?)),
        None => (text, None),
    };
    let (id, addresses) = match text.split_once('@') {
        Some((id, addresses)) => (id, addresses.split(',').map(parse_ip).collect::<Result<Vec<_>, _>>()?),
        None => (text, Vec::new()),
    };
    let id = id
        .parse()
        .map_err(|_| "what follows iroh: is not a server's id, 64 hexadecimal digits".to_owned())?;
    // A server that is named without an address can only be found through a relay.
    let relays = relays.unwrap_or(if addresses.is_empty() { Relays::Public } else { Relays::Disabled });
    Ok(Server::Iroh { id, addresses, relays })
}

fn parse_ip(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "what follows @ are IP addresses with a port, separated by commas".to_owned())
}

fn relays_are() -> String {
    "relays are public, disabled, or the URL of one".to_owned()
}

/// The form that is parsed, with the index always.
impl Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::WebSocket(host) => write!(f, "{REMOTE}ws://{host}")?,
            Server::Iroh { id, addresses, relays } => {
                write!(f, "{REMOTE}iroh:{id}")?;
                for (position, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if position == 0 { '@' } else { ',' })?;
                }
                let implied = if addresses.is_empty() { Relays::Public } else { Relays::Disabled };
                if *relays != implied {
                    write!(f, "?relays={relays}")?;
                }
            }
        }
        write!(f, "#{}", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";

    #[test]
    fn an_address_is_printed_as_it_is_parsed() {
        for (text, printed) in [
            ("remote:ws://gpu1:3000", "remote:ws://gpu1:3000#0".to_owned()),
            ("remote:ws://[::1]:3000/#2", "remote:ws://[::1]:3000#2".to_owned()),
            (&format!("remote:iroh:{ID}"), format!("remote:iroh:{ID}#0")),
            (&format!("remote:iroh:{ID}@10.0.0.1:4#1"), format!("remote:iroh:{ID}@10.0.0.1:4#1")),
            (
                &format!("remote:iroh:{ID}@10.0.0.1:4,[::1]:5?relays=public"),
                format!("remote:iroh:{ID}@10.0.0.1:4,[::1]:5?relays=public#0"),
            ),
        ] {
            let address: RemoteAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(printed.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "",
            "remote:",
            "remote:hunter2",
            "remote:ws://",
            "remote:ws://hunter2",
            "remote:ws://hunter2:0",
            "remote:ws://hunter2:70000",
            "remote:ws://:3000",
            "remote:ws://me:hunter2@host:3000",
            "remote:ws://host:3000?token=hunter2",
            "remote:ws://host:3000/hunter2",
            "remote:ws://host:3000#hunter2",
            "remote:ws://::1:3000",
            "remote:wss://hunter2:3000",
            "remote:ws://host:3000#99999999999",
            "remote:iroh:hunter2",
            &format!("remote:iroh:{ID}@hunter2"),
            &format!("remote:iroh:{ID}@10.0.0.1:4?relays=hunter2"),
        ] {
            let error = text.parse::<RemoteAddress>().unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
