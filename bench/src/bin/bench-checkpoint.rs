//! `cargo xtask bench checkpoint`: what saving and loading a checkpoint cost, side by side with the peers.
//!
//! The allocator is the one that the examples use; `bench-checkpoint-system` is the same program with the
//! system's.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::checkpoint::main()
}
