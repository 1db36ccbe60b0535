//! A server of S3's interface: moto, in Python.

use std::path::Path;
use std::process::Command;

use super::store_server::{StoreServer, free_port};
use crate::programs::python::python_of_mirrors;

const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "canary-access-key"),
    ("AWS_SECRET_ACCESS_KEY", "canary-secret-key"),
    ("AWS_SESSION_TOKEN", "canary-session-token"),
];

/// Starts it, with its log in a directory. Its bucket is `s3://models`.
///
/// # Panics
///
/// When it does not start; the message has its log.
#[must_use]
pub fn s3_server(directory: &Path) -> StoreServer {
    let port = free_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(python_of_mirrors());
    command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.to_string()]);
    let mut server = StoreServer::start(command, directory, "moto", || {
        let made = ureq::put(format!("{endpoint}/models")).send_empty();
        made.is_ok().then(|| ("s3://models", endpoint.clone()))
    });
    server.environment = vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    for (name, value) in CREDENTIALS {
        server.environment.push((name, value.to_owned()));
        server.secrets.push(value.to_owned());
    }
    server
}
