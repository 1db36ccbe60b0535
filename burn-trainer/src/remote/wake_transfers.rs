//! Waking transfers that burn's WebSocket server has forgotten.
//!
//! A server that is asked for a tensor which has not been computed yet waits to be told of new ones. In burn 0.22.1 it begins
//! to listen a moment after it has looked, and a tensor that comes in between is never noticed: the server that asked
//! waits for ever, and with it all that depends on it (`burn-communication`, `ExternalCommService::get_exposed_tensor_bytes`;
//! Iroh's server does it right). Whoever waits looks again whenever any tensor comes. So each server of a run is given one
//! of a single number every now and then, through a session of its own, which a training session that hangs does not hold
//! up.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use burn::tensor::{Device, Tensor};

use super::{RemoteAddress, Token, connected};

/// How long a forgotten transfer waits at most.
const INTERVAL: Duration = Duration::from_millis(500);

/// Nudges the servers of a run until it is dropped.
pub(crate) struct WakeTransfers {
    _ends: Sender<()>,
}

impl WakeTransfers {
    /// For the devices of these names. `None` where no tensor goes from one WebSocket server to another.
    pub(crate) fn start(names: &[String]) -> Option<Self> {
        let mut servers: Vec<(RemoteAddress, Option<Token>)> = Vec::new();
        for name in names {
            let Some((address, token)) = connected::of(name) else { continue };
            if address.is_websocket() && !servers.iter().any(|(other, _)| other.is_of_the_server_of(&address))
            {
                servers.push((address, token));
            }
        }
        if servers.len() < 2 {
            return None;
        }
        let (ends, ended) = mpsc::channel::<()>();
        // It is left to itself: a server that is gone can hold it up for ever.
        let spawned = thread::Builder::new().name("burn-trainer-nudge".to_owned()).spawn(move || {
            let Some(devices) = connect(&servers) else { return };
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                nudge(&devices);
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
        servers.iter().map(|(address, token)| address.connect_aside(token.as_ref())).collect();
    devices.inspect_err(|error| log::warn!("transfers between the servers are not watched: {error}")).ok()
}

/// Moves a number from each server to the next.
fn nudge(devices: &[Device]) {
    for (position, device) in devices.iter().enumerate() {
        let next = &devices[(position + 1) % devices.len()];
        drop(Tensor::<1>::zeros([1], device).to_device(next));
        for device in [device, next] {
            if let Err(error) = device.flush() {
                log::debug!("a server cannot be nudged: {error}");
            }
        }
    }
}
