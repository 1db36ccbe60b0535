//! Several servers with one token, as a run has them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::server::{Server, WEBSOCKET_ON_LOOPBACK, new_token, write_secret};
use crate::programs::running::digits;
use crate::run_files::checkpoints;

/// Whether a run has a checkpoint to resume from.
#[must_use]
pub fn has_saved(root: &Path) -> bool {
    checkpoints(root).join("last.ckpt").exists()
}

/// Servers that a training program is given as its devices.
#[derive(Debug)]
pub struct Cluster {
    /// In the order of the devices.
    pub servers: Vec<Server>,
    directory: TempDir,
}

impl Cluster {
    /// So many servers over WebSocket, each with a device.
    ///
    /// # Panics
    ///
    /// When one does not serve.
    #[must_use]
    pub fn of(count: usize) -> Self {
        Self::with(count, WEBSOCKET_ON_LOOPBACK)
    }

    /// The same with other arguments for each server.
    ///
    /// # Panics
    ///
    /// When one does not serve.
    #[must_use]
    pub fn with(count: usize, arguments: &str) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let token = directory.path().join("token");
        write_secret(&token, &new_token());
        let servers = (0..count).map(|_| Server::start_with_token(arguments, &token)).collect();
        Self { servers, directory }
    }

    /// The flags with which a program trains on the first device of each server.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--token-file".to_owned(), self.token_file().display().to_string()];
        for server in &self.servers {
            flags.extend(["--device".to_owned(), server.addresses()[0].to_string()]);
        }
        flags
    }

    /// What the first device of a server is called in the metadata and in errors.
    #[must_use]
    pub fn device(&self, server: usize) -> String {
        let address = self.servers[server].addresses()[0].to_string();
        match address.split_once('@') {
            // An Iroh server is known by its key, wherever it is.
            Some((id, _)) => format!("{id}#0"),
            None => address,
        }
    }

    /// The program `digits` on all of them.
    #[must_use]
    pub fn digits(&self, root: &Path, arguments: &str) -> Command {
        let mut command = digits(root, arguments);
        command.args(self.flags());
        command
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }
}
