//! `cargo xtask bench start`: how long the start of a run with many kept checkpoints takes.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::start::main()
}
