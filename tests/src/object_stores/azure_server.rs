//! A server of Azure's interface: Azurite, Microsoft's own, which `cargo xtask azurite` installs from npm's
//! registry. It is not part of the ordinary tests: with Node.js it takes 420 MB.

use std::path::Path;
use std::process::Command;

use super::store_server::{StoreServer, free_port};
use crate::programs::commands::workspace;
use crate::programs::python::python_of_mirrors;

/// Set by `cargo xtask azurite`: Node.js, and Azurite's program.
const VARIABLES: [&str; 2] = ["AZURITE_NODE", "AZURITE_BLOB"];
const ACCOUNT: &str = "trainer";
/// A key is any text in base64: `canary-azure-account-key`.
const KEY: &str = "Y2FuYXJ5LWF6dXJlLWFjY291bnQta2V5";

/// Starts it, with its log in a directory. Its container is `az://models`.
///
/// # Panics
///
/// When it is not installed or does not start; the message says what to do, or has its log.
#[must_use]
pub fn azure_server(directory: &Path) -> StoreServer {
    let [node, blob] = VARIABLES
        .map(|name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask azurite")));
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(node);
    command.arg(blob).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.args(["--inMemoryPersistence", "--disableTelemetry"]);
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    let mut server = StoreServer::start(command, directory, "azurite", || {
        let mut make = Command::new(python_of_mirrors());
        make.arg(workspace().join("tests/python/azure_container.py"));
        make.args([&endpoint, ACCOUNT, KEY, "models"]).env("PYTHONDONTWRITEBYTECODE", "1");
        let made = make.output().unwrap_or_else(|error| panic!("{make:?}: {error}"));
        made.status.success().then(|| ("az://models", endpoint.clone()))
    });
    server.environment = vec![
        ("AZURE_STORAGE_ENDPOINT", format!("{endpoint}/{ACCOUNT}")),
        ("AZURE_ALLOW_HTTP", "true".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
    ];
    server.secrets = vec![KEY.to_owned(), "canary-azure-account-key".to_owned()];
    server
}
