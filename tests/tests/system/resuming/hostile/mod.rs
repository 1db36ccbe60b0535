//! Resuming from checkpoints with hostile content, with valid digests.

mod bounded_memory;
mod hostile_state;
mod mutated_checkpoints;
