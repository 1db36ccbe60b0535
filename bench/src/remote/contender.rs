//! Who takes part: one device or two, of this process or of servers, which are started for them.

use std::path::Path;

use backend::Backend;
use burn::tensor::Device;
use clap::ValueEnum;

use super::server::{Server, Transport};
use crate::program::Result;

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
    /// In a table.
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

    /// Devices; each has a batch of its own in every step.
    #[must_use]
    pub fn devices(self) -> usize {
        match self {
            Self::Local | Self::Websocket | Self::Iroh => 1,
            Self::TwoLocal | Self::TwoWebsocket | Self::TwoIroh => 2,
        }
    }

    /// What the devices are reached by, where that is not this process.
    #[must_use]
    pub fn transport(self) -> Option<Transport> {
        match self {
            Self::Local | Self::TwoLocal => None,
            Self::Websocket | Self::TwoWebsocket => Some(Transport::WebSocket),
            Self::Iroh | Self::TwoIroh => Some(Transport::Iroh),
        }
    }
}

/// The servers that the contenders need, a device each.
#[derive(Debug)]
pub struct Servers(Vec<(Transport, Server)>);

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// What the first that did not start has said.
    pub fn start(program: &Path, contenders: &[Contender]) -> Result<Self> {
        let mut servers = Vec::new();
        for transport in [Transport::WebSocket, Transport::Iroh] {
            let of = contenders.iter().filter(|contender| contender.transport() == Some(transport));
            for _ in 0..of.map(|contender| contender.devices()).max().unwrap_or(0) {
                servers.push((transport, Server::start(program, transport)?));
            }
        }
        Ok(Self(servers))
    }

    /// The devices of a contender. Those of servers stay connected.
    ///
    /// # Errors
    ///
    /// When one cannot be connected.
    pub fn devices(&self, contender: Contender) -> Result<Vec<Device>> {
        let Some(transport) = contender.transport() else {
            return Ok(vec![Backend::Flex.device()?; contender.devices()]);
        };
        let addresses: Vec<_> = self
            .0
            .iter()
            .filter(|(of, _)| *of == transport)
            .map(|(_, server)| server.address().clone())
            .take(contender.devices())
            .collect();
        Ok(burn_trainer::remote::connect(&addresses, None, false)?.into_iter().flatten().collect())
    }
}
