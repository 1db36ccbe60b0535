//! `cargo xtask bench optimizer`: how long an update of Adam takes.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::optimizer::main()
}
