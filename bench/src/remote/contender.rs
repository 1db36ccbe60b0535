//! Who takes part: one device or two, of this process or of servers.

use clap::ValueEnum;

/// How clients reach a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Not encrypted.
    WebSocket,
    /// QUIC, encrypted.
    Iroh,
}

/// Where the devices are, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// The CPU
    Local,
    /// A server's, over WebSocket
    Websocket,
    /// A server's, over Iroh
    Iroh,
    /// The CPU as two devices
    TwoLocal,
    /// Those of two servers, over WebSocket
    TwoWebsocket,
    /// Those of two servers, over Iroh
    TwoIroh,
}

impl Contender {
    /// Its name in a table.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Local => "one local device",
            Self::Websocket => "one remote, WebSocket",
            Self::Iroh => "one remote, Iroh",
            Self::TwoLocal => "two local devices",
            Self::TwoWebsocket => "two remote, WebSocket",
            Self::TwoIroh => "two remote, Iroh",
        }
    }

    /// Number of devices; each trains on a batch of its own in every step.
    #[must_use]
    pub fn devices(self) -> usize {
        match self {
            Self::Local | Self::Websocket | Self::Iroh => 1,
            Self::TwoLocal | Self::TwoWebsocket | Self::TwoIroh => 2,
        }
    }

    /// How remote devices are reached; `None` for devices of this process.
    #[must_use]
    pub fn transport(self) -> Option<Transport> {
        match self {
            Self::Local | Self::TwoLocal => None,
            Self::Websocket | Self::TwoWebsocket => Some(Transport::WebSocket),
            Self::Iroh | Self::TwoIroh => Some(Transport::Iroh),
        }
    }
}
