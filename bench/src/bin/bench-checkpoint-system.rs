//! [`bench-checkpoint`](../bench_checkpoint/index.html) with the system's allocator: what fresh pages cost
//! the step after a save.

use std::process::ExitCode;

fn main() -> ExitCode {
    bench::checkpoint::main()
}
