//! `cargo xtask bench busy`: what saves cost a loop, and how long they take, beside processes that keep all
//! processors busy.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::busy::main()
}
