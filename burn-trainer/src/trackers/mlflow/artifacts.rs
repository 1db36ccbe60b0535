//! Checkpoints as artifacts, through the server: an MLflow server that proxies them (as `mlflow server` does
//! by default) says so by the address `mlflow-artifacts:`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::{
    CHECKPOINT_SUFFIX, METADATA_SUFFIX, is_shards_directory, metadata_path, shards_directory, storage,
};
use indexmap::IndexMap;

use super::client::Client;
use crate::process::console::note;
use crate::trackers::flattened::text_of;
use crate::trackers::tracker::TrackerResult;

const PROXIED: &str = "mlflow-artifacts:";
/// The folder of checkpoints among the artifacts.
const FOLDER: &str = "checkpoints";

/// The artifacts of a run.
pub(super) struct OfRun<'a> {
    pub(super) client: &'a Client,
    pub(super) run_id: &'a str,
    /// Where the server has them.
    pub(super) artifact_uri: &'a str,
}

impl OfRun<'_> {
    /// Uploads checkpoints with their metadata and shards: `checkpoints/best/epoch=3-step=180.ckpt`. Those
    /// that are `uploaded` are there. Then what an earlier end of the run has left in these
    /// folders is removed.
    pub(super) fn upload(
        &self,
        checkpoints: &IndexMap<String, PathBuf>,
        uploaded: &mut HashSet<String>,
    ) -> TrackerResult {
        let Some(root) = root_of(self.artifact_uri) else {
            note(
                "the tracker mlflow uploads no checkpoints: the server does not take artifacts itself \
                 (mlflow server --artifacts-destination)",
            );
            return Ok(());
        };
        for (name, path) in checkpoints {
            let folder = format!("{FOLDER}/{name}");
            let mut present = HashSet::new();
            let directory = path.parent().unwrap_or(path);
            for path in files_of(path)? {
                let place = format!("{folder}/{}", name_below(&path, directory));
                present.insert(place.clone());
                if uploaded.contains(&place) {
                    continue;
                }
                let file = storage::StoredFile::open(&path)?.into_file();
                self.client.upload(&encoded(&format!("{root}/{place}")), &file)?;
                uploaded.insert(place);
            }
            if !present.is_empty() {
                self.remove_others(root, &folder, &present);
            }
        }
        Ok(())
    }

    /// Removes the checkpoints in a folder that are not `present`. A server that does not allow that keeps
    /// them.
    fn remove_others(&self, root: &str, folder: &str, present: &HashSet<String>) {
        let removed = self.in_folder(folder).and_then(|places| {
            let others = places.iter().filter(|place| is_of_a_checkpoint(place) && !present.contains(*place));
            others.into_iter().try_for_each(|place| self.client.remove(&encoded(&format!("{root}/{place}"))))
        });
        if let Err(error) = removed {
            note(&format!(
                "the tracker mlflow cannot remove earlier checkpoints in the artifacts' {folder}: {error}"
            ));
        }
    }

    /// The files in a folder, and those of the folders of shards in it.
    fn in_folder(&self, folder: &str) -> TrackerResult<Vec<String>> {
        let listed = self.client.get("artifacts/list", &[("run_id", self.run_id), ("path", folder)])?;
        let mut files = Vec::new();
        for entry in listed["files"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let place = text_of(&entry["path"]);
            if entry["is_dir"] != true {
                files.push(place);
            } else if is_shards_directory(Path::new(&place)) {
                files.extend(self.in_folder(&place)?);
            }
        }
        Ok(files)
    }
}

/// The files of a checkpoint: its shards, if it has some, itself and its metadata.
fn files_of(checkpoint: &Path) -> TrackerResult<Vec<PathBuf>> {
    let mut files = storage::list(&shards_directory(checkpoint))?.unwrap_or_default();
    files.sort();
    for path in [checkpoint.to_path_buf(), metadata_path(checkpoint)] {
        if storage::stat(&path)?.is_some_and(|stat| stat.is_file()) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The name of a file below a directory, as it stands in an address.
fn name_below(path: &Path, directory: &Path) -> String {
    let parts = path.strip_prefix(directory).unwrap_or(path).iter();
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Whether a file is one that this tracker uploads.
fn is_of_a_checkpoint(place: &str) -> bool {
    let place = place.strip_suffix(METADATA_SUFFIX).unwrap_or(place);
    place.ends_with(CHECKPOINT_SUFFIX)
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
