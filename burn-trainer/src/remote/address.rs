//! The address of a device on another machine: its text form, and the same as burn takes it.
//!
//! ```text
//! remote:ws://HOST:PORT#INDEX
//! remote:iroh:ID@IP:PORT,IP:PORT?relays=RELAYS#INDEX
//! ```

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::str::FromStr;

use burn::remote::{EndpointAddr, EndpointId, IrohHost, IrohRelays, RemoteHost};

use super::device_names::REMOTE;

const FORMS: &str = "remote:ws://HOST:PORT, or remote:iroh:ID@IP:PORT as the server prints it, and #INDEX for another \
                     than its first device";
/// burn numbers a server's devices with 32 bits.
const MAX_INDEX: usize = u32::MAX as usize;

/// The relays between two machines that cannot reach each other directly: `public`, `disabled`, or a relay's
/// URL.
///
/// ```
/// let relays: burn_trainer::remote::Relays = "disabled".parse()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Relays = IrohRelays;

/// A device of a server: the server's address, and the number of the device. Without credentials, so that it
/// can be printed.
///
/// [`connect`](crate::remote::connect) has an example.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteAddress {
    server: Server,
    index: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Server {
    /// `host:port`. Not encrypted.
    WebSocket(String),
    /// Encrypted and authenticated by the server's key.
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

    /// The server as burn takes it. Sessions with different names are different sessions, where the server is
    /// a WebSocket server.
    pub(super) fn host(&self, session: &str) -> RemoteHost {
        match &self.server {
            Server::WebSocket(host) => RemoteHost::websocket(&format!("ws://{session}@{host}")),
            Server::Iroh { id, addresses, relays } => {
                RemoteHost::iroh(IrohHost::new(endpoint_address(*id, addresses)).with_relays(relays.clone()))
            }
        }
    }

    /// The number of the device at its server.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn has_server_of(&self, other: &Self) -> bool {
        self.server == other.server
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self.server, Server::WebSocket(_))
    }

    /// Where an Iroh server is. `None` for another one.
    pub(super) fn iroh_endpoint(&self) -> Option<(EndpointAddr, &Relays)> {
        match &self.server {
            Server::Iroh { id, addresses, relays } => Some((endpoint_address(*id, addresses), relays)),
            Server::WebSocket(_) => None,
        }
    }
}

fn endpoint_address(id: EndpointId, addresses: &[SocketAddr]) -> EndpointAddr {
    addresses.iter().fold(EndpointAddr::from(id), |to, ip| to.with_ip_addr(*ip))
}

impl FromStr for RemoteAddress {
    type Err = String;

    /// The error says what is wrong, and does not repeat the address: it may contain a password.
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
    // A server without an address can only be found through a relay.
    let relays = relays.unwrap_or(if addresses.is_empty() { Relays::Public } else { Relays::Disabled });
    Ok(Server::Iroh { id, addresses, relays })
}

fn parse_ip(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "what follows @ are IP addresses with a port, separated by commas".to_owned())
}

fn relays_are() -> String {
    "relays are public, disabled, or the URL of one".to_owned()
}

/// The form that `FromStr` parses. It always has the index.
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
    fn an_error_does_not_repeat_the_invalid_address() {
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
