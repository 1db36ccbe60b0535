//! Resuming from checkpoints whose content nobody wrote, with valid digests.

mod bounded_memory;
mod hostile_state;
mod mutated_checkpoints;
