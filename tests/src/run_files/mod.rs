//! What a run left in its directory, and whether two runs left the same.

mod compare_runs;
mod tree;

// The metadata file beside a checkpoint. A program has no need of it: `Metadata::of_checkpoint` reads it.
pub use burn_ckpt::plumbing::metadata_path;
pub(crate) use compare_runs::is_staging;
pub use compare_runs::{
    Same, clear_clock, compare, compare_after_loss, compare_states, leftovers, stopped_exactly, without_clock,
};
pub use tree::{
    checkpoints, complete_checkpoints, copy_checkpoint, copy_tree, described_state, edit_metadata, files,
    hardware, in_memory, last_epochs, last_metadata, last_tensor_byte, links_as_files, metadata, run_dir,
    stems, target,
};
