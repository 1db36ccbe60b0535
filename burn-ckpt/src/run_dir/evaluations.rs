//! The file of a checkpoint's evaluations, as far as a run's cleanup and its mirror read it: burn-trainer
//! writes it, and reads the rest.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use crate::disk::storage::StoredFile;
use crate::format::container::bounded_json::parse;
use crate::format::container::limits::MAX_JSON_VALUES;

/// Upper limit in bytes of a file of evaluations: thousands of metrics.
pub const MAX_EVALUATION_BYTES: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Owner {
    run_id: String,
}

/// Whether a file has evaluations of a run's checkpoint. Any other file has not, nor one that cannot be read.
pub(crate) fn is_of_run(path: &Path, run_id: &str) -> bool {
    let mut text = Vec::new();
    let read = StoredFile::open(path).and_then(|file| file.take(MAX_EVALUATION_BYTES).read_to_end(&mut text));
    read.is_ok() && parse::<Owner>(&text, MAX_JSON_VALUES).is_ok_and(|owner| owner.run_id == run_id)
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
