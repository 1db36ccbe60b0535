//! `cargo xtask bench epochs`: whether an epoch costs as much after tens of thousands of them as it does at
//! first.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

fn main() -> ExitCode {
    bench::epochs::main()
}
