//! What a run left in its directory, and whether two runs left the same.

mod compare_runs;
mod tree;

pub use compare_runs::{Same, compare, stopped_exactly};
pub(crate) use compare_runs::{is_staging, leftovers};
pub use tree::{
    checkpoints, copy_checkpoint, described_state, edit_metadata, files, hardware, last_epochs,
    last_tensor_byte, metadata, run_dir, stems, target, whole_checkpoints,
};
