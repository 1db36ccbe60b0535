//! Servers of this machine's devices as processes, on free ports of the loopback interface.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::{Device, Tensor};
use burn_trainer::remote::{RemoteAddress, Token};
use tempfile::TempDir;

use crate::programs::commands::build;
use crate::programs::running::{Ended, Running};

/// What a server is started with unless a test says otherwise.
pub const ON_LOOPBACK: &str = "--listen 127.0.0.1:0";
/// The same over WebSocket.
pub const WEBSOCKET_ON_LOOPBACK: &str = "--websocket --listen 127.0.0.1:0";

/// The program `burn-serve` with these arguments, that ends with the thread that starts it, also where a
/// test's process is killed. It does not inherit the token of the user who runs the tests.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn burn_serve(arguments: &str) -> Command {
    let mut command = ending_with_us(&build(&["burn-serve"]).join("burn-serve"));
    command.args(arguments.split_whitespace()).env_remove("BURN_REMOTE_TOKEN");
    command
}

/// A program that the operating system ends with the thread that starts it; util-linux has the way to ask for
/// that.
#[must_use]
pub fn ending_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A server that serves, and ends when this is dropped. It has a token of its own.
#[derive(Debug)]
pub struct Server {
    running: Running,
    directory: TempDir,
    arguments: String,
}

impl Server {
    /// Starts one, such as with [`ON_LOOPBACK`], and waits until its devices can be connected.
    ///
    /// # Panics
    ///
    /// When it ends before.
    #[must_use]
    pub fn start(arguments: &str) -> Self {
        Self::start_with(arguments, |_| ())
    }

    /// The same with the token in this file, for servers that have it in common.
    ///
    /// # Panics
    ///
    /// When it ends before its devices can be connected.
    #[must_use]
    pub fn start_with_token(arguments: &str, file: &Path) -> Self {
        let token =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self::start_in(arguments, &token, |_| ())
    }

    /// The same with a command that the test changes.
    ///
    /// # Panics
    ///
    /// When it ends before its devices can be connected.
    #[must_use]
    pub fn start_with(arguments: &str, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_in(arguments, &new_token(), change)
    }

    fn start_in(arguments: &str, token: &str, change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        write_secret(&directory.path().join("token"), token);
        let running = run(directory.path(), arguments, change);
        let mut server = Self { running, directory, arguments: arguments.to_owned() };
        server.wait();
        server
    }

    /// Ends it by force, and starts it again where it was.
    ///
    /// # Panics
    ///
    /// When it cannot be started again.
    pub fn kill_and_restart(&mut self) {
        let at = self.socket().to_string();
        self.kill();
        let arguments = self.arguments.replace("127.0.0.1:0", &at);
        self.running = run(self.directory.path(), &arguments, |_| ());
        self.wait();
    }

    /// Ends it by force.
    ///
    /// # Panics
    ///
    /// When there is no such process any more.
    pub fn kill(&mut self) {
        self.running.send("KILL");
        while !self.running.has_ended() {
            std::thread::yield_now();
        }
        // It had no time for that.
        let _ = std::fs::remove_file(self.directory.path().join("address"));
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    pub fn stop(self, signal: &str) -> (Ended, TempDir) {
        self.running.send(signal);
        (self.running.end(), self.directory)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Where the server's files are: `token`, `identity` and `address`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file with the server's token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// The server's token.
    ///
    /// # Panics
    ///
    /// When its file cannot be read.
    #[must_use]
    pub fn token(&self) -> Token {
        let token =
            Token::from_file_or_env(Some(&self.token_file())).unwrap_or_else(|error| panic!("{error}"));
        token.unwrap_or_else(|| panic!("the server has no token"))
    }

    /// The addresses of its devices as scripts read them.
    ///
    /// # Panics
    ///
    /// When they are none.
    #[must_use]
    pub fn addresses(&self) -> Vec<RemoteAddress> {
        let file = self.directory.path().join("address");
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.lines().map(|line| line.parse().unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    }

    /// Where it listens, of what it says of that.
    ///
    /// # Panics
    ///
    /// When it says none.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        let address = self.addresses()[0].to_string();
        let address = address.trim_end_matches("#0").rsplit(['@', '/']).next().unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// One of its devices, connected in this process.
    ///
    /// # Panics
    ///
    /// When it cannot be connected.
    #[must_use]
    pub fn connect(&self, index: usize) -> Device {
        self.addresses()[index].connect(Some(&self.token())).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The most memory that it has had until now, in bytes.
    ///
    /// # Panics
    ///
    /// When there is no such process any more.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let file = format!("/proc/{}/status", self.running.id());
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_else(|| panic!("{file}: {text}")) * 1024
    }

    fn wait(&mut self) {
        let file = self.directory.path().join("address");
        self.running.wait_for("the addresses of its devices", |_| file.exists());
    }
}

/// A token that no other server has.
///
/// # Panics
///
/// When the operating system has no random bytes.
#[must_use]
pub fn new_token() -> String {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.unwrap_or_else(|error| panic!("/dev/urandom: {error}"));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file that only its owner can read.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let written = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Checks that a device computes what this machine's does.
///
/// # Panics
///
/// When it does not.
pub fn computes(device: &Device) {
    let product = |device: &Device| {
        let numbers = Tensor::<1>::from_floats([1.5, -2.0, 3.25, 0.1, 7.0, -0.5], device).reshape([2, 3]);
        let product = numbers.clone().matmul(numbers.transpose()).exp();
        product.try_into_data().unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(product(device), product(&Device::flex()));
}

fn run(directory: &Path, arguments: &str, change: impl FnOnce(&mut Command)) -> Running {
    let mut command = burn_serve(arguments);
    command.arg("--address-file").arg(directory.join("address"));
    if !arguments.contains("--websocket") {
        command.arg("--identity").arg(directory.join("identity"));
    }
    if !arguments.contains("--insecure") {
        command.arg("--token-file").arg(directory.join("token"));
    }
    change(&mut command);
    Running::start(command)
}
