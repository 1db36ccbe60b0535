//! Resuming from checkpoints whose content nobody wrote, with valid digests.

mod hostile_state;
mod mutated_checkpoints;
