//! A server of Google Cloud Storage's interface: `tests/python/gcs_server.py`, whose head says what it is and
//! what it is not.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::store_server::StoreServer;
use crate::programs::commands::workspace;
use crate::programs::python::python_of_mirrors;

/// Starts it, with its log and the file of its service account in a directory. Its bucket is `gs://models`.
///
/// # Panics
///
/// When it does not start; the message has its log.
#[must_use]
pub fn google_cloud_server(directory: &Path) -> StoreServer {
    let [address, account] = ["gcs.address", "gcs-account.json"].map(|name| directory.join(name));
    let mut command = Command::new(python_of_mirrors());
    command.arg(workspace().join("tests/python/gcs_server.py"));
    command.args([&address, &account]).arg("models");
    // The repository stays as it is.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut server = StoreServer::start(command, directory, "gcs", || {
        let endpoint = fs::read_to_string(&address).ok()?;
        Some(("gs://models", endpoint))
    });
    let json = fs::read(&account).unwrap_or_else(|error| panic!("{}: {error}", account.display()));
    let json: Value = serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{error}"));
    // Each line of the key.
    let key = json["private_key"].as_str().unwrap_or_default();
    server.secrets = key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
    assert!(server.secrets.len() > 10, "the service account has no key");
    server.environment = vec![
        ("GOOGLE_BASE_URL", server.endpoint.clone()),
        ("GOOGLE_SERVICE_ACCOUNT", account.display().to_string()),
    ];
    server
}
