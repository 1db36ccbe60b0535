//! A real server of S3's interface: moto, in Python, on this machine.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::python::python_of_mirrors;

/// It takes some seconds to start on an idle machine.
const PATIENCE: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(50);
/// The access key of the tests.
pub const ACCESS_KEY: &str = "canary-access-key";
/// The secret key of the tests: it must be nowhere.
pub const SECRET_KEY: &str = "canary-secret-key";

/// The server, with one empty bucket. It is killed with this.
pub struct MotoServer {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
}

impl MotoServer {
    /// Starts it, with its log in a directory, and makes the bucket.
    ///
    /// # Panics
    ///
    /// When it does not start; the message has its log.
    #[must_use]
    pub fn start(directory: &Path, bucket: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = port.unwrap_or_else(|error| panic!("no port is free: {error}")).port();
        let log = directory.join("moto.log");
        let file = || {
            let file = File::options().create(true).append(true).open(&log);
            file.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        let mut command = Command::new(python_of_mirrors());
        command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(file()).stderr(file());
        let child = command.spawn().unwrap_or_else(|error| panic!("moto: {error}"));
        let server = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while ureq::put(format!("{}/{bucket}", server.endpoint)).send_empty().is_err() {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the server does not answer: {}", log());
            std::thread::sleep(POLL);
        }
        server
    }

    /// The variables by which a process reaches the server.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ]
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
