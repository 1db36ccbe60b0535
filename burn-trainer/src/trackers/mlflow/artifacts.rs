//! Checkpoints as artifacts, through the server: an MLflow server that proxies them (as `mlflow server` does
//! by default) says so by the address `mlflow-artifacts:`.

use std::collections::HashSet;
use std::path::PathBuf;

use burn_ckpt::plumbing::{metadata_path, storage};
use indexmap::IndexMap;

use super::client::Client;
use crate::process::console::note;
use crate::trackers::tracker::TrackerResult;

const PROXIED: &str = "mlflow-artifacts:";
/// The folder of checkpoints among the artifacts.
const FOLDER: &str = "checkpoints";

/// Uploads checkpoints with their metadata: `checkpoints/best/epoch=3-step=180.ckpt`. Those that are
/// `uploaded` are there.
pub(super) fn upload(
    client: &Client,
    artifact_uri: &str,
    checkpoints: &IndexMap<String, PathBuf>,
    uploaded: &mut HashSet<String>,
) -> TrackerResult {
    let Some(root) = root_of(artifact_uri) else {
        note(
            "the tracker mlflow uploads no checkpoints: the server does not take artifacts itself \
             (mlflow server --artifacts-destination)",
        );
        return Ok(());
    };
    for (name, path) in checkpoints {
        for path in [path.clone(), metadata_path(path)] {
            // A checkpoint of several files is a directory.
            if !storage::stat(&path)?.is_some_and(|stat| stat.is_file()) {
                continue;
            }
            let file_name =
                path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let place = [root, FOLDER, name, &file_name].map(encoded).join("/");
            if uploaded.contains(&place) {
                continue;
            }
            let file = storage::StoredFile::open(&path)?.into_file();
            client.upload(&place, &file)?;
            uploaded.insert(place);
        }
    }
    Ok(())
}

/// The path of a run's artifacts on the server. `None` where they are elsewhere.
fn root_of(artifact_uri: &str) -> Option<&str> {
    let path = artifact_uri.strip_prefix(PROXIED)?;
    // After a host, as in `mlflow-artifacts://host:5000/0/..`.
    let path = match path.strip_prefix("//") {
        Some(rest) => rest.split_once('/')?.1,
        None => path,
    };
    Some(path.trim_matches('/'))
}

/// A path as it stands in an address.
fn encoded(path: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    path.bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_found_where_the_server_takes_them() {
        assert_eq!(root_of("mlflow-artifacts:/0/abc/artifacts"), Some("0/abc/artifacts"));
        assert_eq!(root_of("mlflow-artifacts://host:5000/0/abc/artifacts"), Some("0/abc/artifacts"));
        assert_eq!(root_of("s3://bucket/0/abc"), None);
        assert_eq!(encoded("0/epoch=3-step=180.ckpt"), "0/epoch%3D3-step%3D180.ckpt");
    }
}
