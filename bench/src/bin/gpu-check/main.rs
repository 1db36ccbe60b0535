//! `cargo xtask gpu-check`: everything that only a device can show, in one command that prints a page for
//! `BENCHMARKS.md`.
//!
//! It trains `digits` and `char-lm`, saves while they train, resumes from the middle, loads the result on the
//! CPU, and shows what a checkpoint's metadata says of the machine (`check.rs`). It needs no toolchain: the
//! program can be built in release on one machine and carried to another, where `gpu-day.sh` starts its verb
//! `day` (`day/`), which does all that can be done in ten minutes.

mod check;
mod day;
mod devices;
mod nvidia_smi;
mod page;

use std::process::ExitCode;

use burn_trainer::cli;
use clap::{Parser, Subcommand};

/// As in the examples.
#[global_allocator]
static ALLOCATOR: burn_trainer::KeepingAllocator = burn_trainer::KeepingAllocator;

/// Train, save and resume on a device, and print the figures.
#[derive(Parser)]
#[command(name = "cargo xtask gpu-check", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    check: check::Args,
}

/// What it can do beside that.
#[derive(Subcommand)]
enum Verb {
    /// Everything that a machine with a card can show in ten minutes, with a page and lines of JSON
    Day(day::Args),
    /// Compare the GPUs that a run's metadata would have with those of nvidia-smi
    Environment,
    /// Train on two devices at once, or by burn's distributed data parallel training
    Devices(devices::Args),
}

/// The verbs of `bench-train`, whose processes are this program as well.
const BENCH_TRAIN: [&str; 2] = ["bench-train", bench::train::VERB];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|verb| BENCH_TRAIN.contains(&verb.as_str())) {
        if arguments[1] == BENCH_TRAIN[0] {
            arguments.remove(1);
        }
        return bench::train::main_with(arguments.into_iter());
    }
    let Args { verb, check } = Args::parse();
    cli::main(|| match verb {
        None => check::run(&check),
        Some(Verb::Day(args)) => day::run(&args),
        Some(Verb::Environment) => Ok(nvidia_smi::compare_and_print()),
        Some(Verb::Devices(args)) => devices::run(&args),
    })
}
