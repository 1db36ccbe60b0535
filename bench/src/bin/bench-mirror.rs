//! `cargo xtask bench mirror`: what a mirror in a slow store costs a step of char-lm.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::mirror::main()
}
