//! The program behind `cargo xtask serve`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    burn_serve::run(&burn_serve::Args::parse())
}
