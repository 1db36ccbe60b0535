//! `cargo xtask bench remote`: training on devices of servers, beside the same on this machine's own.
//!
//! The allocator is the one that the examples use. The servers are `burn-serve` beside this program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::remote::main()
}
