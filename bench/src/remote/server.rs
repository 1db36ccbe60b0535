//! Servers of this machine's CPU on the loopback interface: `burn-serve`, as children of this process.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use burn_trainer::remote::RemoteAddress;
use tempfile::TempDir;

use crate::program::Result;

/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Whoever measures may have one for other servers.
const TOKEN_VARIABLE: &str = "BURN_REMOTE_TOKEN";

/// What clients reach a server by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Not encrypted.
    WebSocket,
    /// QUIC, encrypted.
    Iroh,
}

/// A server of one device, which ends when this is dropped. On this machine alone, it asks for no token.
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
    /// What the server said when it ended before that.
    pub fn start(program: &Path, transport: Transport) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (address, said) = (directory.path().join("address"), directory.path().join("said"));
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--address-file"]).arg(&address);
        match transport {
            Transport::WebSocket => command.arg("--websocket"),
            // One of its own, as two servers cannot have the same.
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

    /// Where its device is.
    #[must_use]
    pub fn address(&self) -> &RemoteAddress {
        &self.address
    }
}

/// Its processor time counts to this process's once it was waited for.
impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
