//! Servers of this machine's CPU on the loopback interface: `burn-serve` as child processes.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use backend::Backend;
use burn::tensor::Device;
use burn_trainer::remote::RemoteAddress;
use tempfile::TempDir;

use crate::program::Result;

use super::contender::{Contender, Transport};

/// A server that takes longer to start has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// The variable with the token of other servers, which these servers must not inherit.
const TOKEN_VARIABLE: &str = "BURN_REMOTE_TOKEN";

/// The servers that the contenders need, each with one device.
#[derive(Debug)]
pub struct Servers(Vec<(Transport, Server)>);

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    ///
    /// When a server does not start, with what it printed.
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

/// A server of one device, which ends when this is dropped. It listens on this machine alone, and asks for no
/// token.
#[derive(Debug)]
pub struct Server {
    _running: Running,
    _directory: TempDir,
    address: RemoteAddress,
}

#[derive(Debug)]
struct Running(Child);

impl Server {
    /// Starts one, and waits until its device can be connected.
    ///
    /// # Errors
    ///
    /// When the server ends before that, with what it printed.
    pub fn start(program: &Path, transport: Transport) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (address, said) = (directory.path().join("address"), directory.path().join("said"));
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--address-file"]).arg(&address);
        match transport {
            Transport::WebSocket => command.arg("--websocket"),
            // Two servers cannot share an identity.
            Transport::Iroh => command.arg("--identity").arg(directory.path().join("identity")),
        };
        command.env_remove(TOKEN_VARIABLE);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut running = Running(child);
        let begun = Instant::now();
        while !address.exists() {
            if running.0.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&said)?;
                return Err(format!("a server did not start: {}", said.trim()).into());
            }
            sleep(POLL);
        }
        let text = std::fs::read_to_string(&address)?;
        let address = text.lines().next().unwrap_or_default().parse::<RemoteAddress>()?;
        Ok(Self { _running: running, _directory: directory, address })
    }

    /// The address of its device.
    #[must_use]
    pub fn address(&self) -> &RemoteAddress {
        &self.address
    }
}

/// A child's processor time counts to this process's once it was waited for.
impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
