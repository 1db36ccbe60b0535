//! The file of a checkpoint's evaluations, as far as a run's cleanup and its mirror read it: burn-trainer
//! writes it, and reads the rest.

use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use crate::disk::storage::StoredFile;
use crate::format::container::bounded_json::parse;
use crate::format::container::limits::MAX_JSON_VALUES;

/// Upper limit in bytes of a file of evaluations: thousands of metrics.
pub const MAX_EVALUATION_BYTES: u64 = 1024 * 1024;

/// Whose checkpoint a file of evaluations is beside.
#[derive(Deserialize)]
pub(crate) struct Owner {
    pub(crate) run_id: String,
    /// When that run was started. `None` in a file of an earlier version.
    pub(crate) start_timestamp: Option<Timestamp>,
}

/// Whose checkpoint's evaluations a file has. `None` for any other file, and one that cannot be read.
pub(crate) fn owner(path: &Path) -> Option<Owner> {
    let mut text = Vec::new();
    let file = StoredFile::open(path).ok()?;
    file.take(MAX_EVALUATION_BYTES).read_to_end(&mut text).ok()?;
    parse(&text, MAX_JSON_VALUES).ok()
}

/// Whether the text of such a file is of a checkpoint, which is named by the SHA-256 of its file.
///
/// # Errors
///
/// The reason why it is not such a text.
#[cfg(feature = "mirror")]
pub(crate) fn is_of_state(text: &[u8], sha256: &str) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct State {
        checkpoint_checksum: String,
    }
    let state: State = parse(text, MAX_JSON_VALUES).map_err(|error| error.to_string())?;
    Ok(state.checkpoint_checksum == sha256)
}
