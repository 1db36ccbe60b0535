//! `cargo xtask bench train`: how fast training is, side by side with the peers.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::train::main()
}
