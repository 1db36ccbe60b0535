//! A server of a store's interface on this machine, as a process of its own, with one empty bucket.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Each takes some seconds to start on an idle machine.
const PATIENCE: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(50);

/// A server. It is killed with this.
pub struct StoreServer {
    child: Child,
    log: PathBuf,
    /// The address of its bucket: `s3://models`.
    pub bucket: &'static str,
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The variables by which a process reaches the server.
    pub environment: Vec<(&'static str, String)>,
    /// The credentials of the tests: they must be nowhere.
    pub secrets: Vec<String>,
}

impl StoreServer {
    /// Starts a program, with its log in a directory. `is_ready` makes the bucket.
    pub(super) fn start(
        mut command: Command,
        directory: &Path,
        name: &str,
        mut is_ready: impl FnMut() -> Option<(&'static str, String)>,
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = || {
            let file = File::options().create(true).append(true).open(&log);
            file.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        command.stdin(Stdio::null()).stdout(file()).stderr(file());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (bucket, endpoint) = ("", String::new());
        let mut server = Self { child, log, bucket, endpoint, environment: Vec::new(), secrets: Vec::new() };
        let begun = Instant::now();
        loop {
            if let Some((bucket, endpoint)) = is_ready() {
                (server.bucket, server.endpoint) = (bucket, endpoint);
                return server;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not answer: {}", server.log());
            std::thread::sleep(POLL);
        }
    }

    /// Ends it: nothing listens there from then on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its variables, for a connection of this process.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Sets one of its variables.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_owned()));
    }

    /// Looks for its credentials.
    ///
    /// # Panics
    ///
    /// When one is there.
    pub fn assert_no_secret(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for secret in &self.secrets {
            assert!(!text.contains(secret), "{place}: {text}");
        }
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that no other server has now.
pub(super) fn free_port() -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    port.unwrap_or_else(|error| panic!("no port is free: {error}")).port()
}
