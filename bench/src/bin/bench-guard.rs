//! `cargo xtask bench guard`: what the gradient guard costs a step of char-lm.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::guard::main()
}
