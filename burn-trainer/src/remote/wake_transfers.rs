//! Wakes transfers between servers that burn's WebSocket server has forgotten.
//!
//! A server that is asked for a tensor which is not computed yet waits for news of tensors. In burn 0.22.1 it
//! begins to listen a moment after it has looked. A tensor that comes in between is never noticed: the server
//! that asked waits forever, and all that depends on it (`burn-communication`,
//! `ExternalCommService::get_exposed_tensor_bytes`; the Iroh server is correct). A waiting server looks again
//! whenever any tensor comes. So every half second each server of a run gets a tensor of one number, by a
//! second session, which a hanging training session does not block.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use burn::tensor::{Device, Tensor};

use super::address::RemoteAddress;
use super::token::Token;
use super::{registry, session};

/// The longest that a forgotten transfer waits.
const INTERVAL: Duration = Duration::from_millis(500);

/// Sends the servers of a run small tensors until it is dropped.
pub(crate) struct TransferWaker {
    _ends: Sender<()>,
}

impl TransferWaker {
    /// For the devices of these names. `None` when the run has fewer than two WebSocket servers.
    pub(crate) fn start(names: &[String]) -> Option<Self> {
        let mut servers: Vec<(RemoteAddress, Option<Token>)> = Vec::new();
        for name in names {
            let Some((address, token)) = registry::find(name) else { continue };
            if address.is_websocket() && !servers.iter().any(|(other, _)| other.has_server_of(&address)) {
                servers.push((address, token));
            }
        }
        if servers.len() < 2 {
            return None;
        }
        let (ends, ended) = mpsc::channel::<()>();
        // The thread is not joined: a lost server can block it forever.
        let spawned = thread::Builder::new().name("burn-trainer-wake".to_owned()).spawn(move || {
            let Some(devices) = connect(&servers) else { return };
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                wake(&devices);
            }
        });
        if let Err(error) = spawned {
            log::warn!("transfers between the servers are not watched: {error}");
        }
        Some(Self { _ends: ends })
    }
}

fn connect(servers: &[(RemoteAddress, Option<Token>)]) -> Option<Vec<Device>> {
    let devices: Result<Vec<Device>, _> =
        servers.iter().map(|(address, token)| session::connect_aside(address, token.as_ref())).collect();
    devices.inspect_err(|error| log::warn!("transfers between the servers are not watched: {error}")).ok()
}

/// Moves a number from each server to the next.
fn wake(devices: &[Device]) {
    for (position, device) in devices.iter().enumerate() {
        let next = &devices[(position + 1) % devices.len()];
        drop(Tensor::<1>::zeros([1], device).to_device(next));
        for device in [device, next] {
            if let Err(error) = device.flush() {
                log::debug!("a server cannot be sent a tensor: {error}");
            }
        }
    }
}
