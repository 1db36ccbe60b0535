//! The project's commands, one file a verb:
//! `cargo xtask new | train | serve | soak | fuzz | gpu-check | llvm | bench | test | azurite | check |
//! tidy`.

mod backend;
mod bench;
mod cargo;
mod check;
mod gpu;
mod gpu_check;
mod llvm;
mod new;
mod program;
mod robustness;
mod serve;
mod test;
mod tidy;
mod train;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::robustness::{fuzz, soak};

/// The project's commands
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a project of your own: a model, a training program and an inference program
    New(new::Args),
    /// Train an example and keep its checkpoints; `cargo xtask train --help` lists the flags
    #[command(disable_help_flag = true)]
    Train(train::Args),
    /// Lend this machine's devices to training on other machines; `cargo xtask serve --help` lists the flags
    #[command(disable_help_flag = true)]
    Serve(serve::Args),
    /// Kill training runs at random moments, with `--chaos` also damage their files, and compare them with
    /// undisturbed ones; `cargo xtask soak --help` lists the flags
    #[command(disable_help_flag = true)]
    Soak(soak::Args),
    /// Change real files by chance, and give them to each reader; `cargo xtask fuzz --help` lists the flags
    #[command(disable_help_flag = true)]
    Fuzz(fuzz::Args),
    /// Train, save and resume on a GPU, and print the figures; `cargo xtask gpu-check --help` lists the flags
    #[command(disable_help_flag = true)]
    GpuCheck(gpu_check::Args),
    /// Set up LLVM for builds with CUDA where its download cannot be reached; those builds do it themselves
    Llvm,
    /// Measure beside the peers, and print a page; `cargo xtask bench checkpoint --help` lists the flags
    #[command(disable_help_flag = true)]
    Bench(bench::Args),
    /// Format, lints, documentation and every test; ends with their count. Installs what they need beside
    /// Rust
    Test(test::Args),
    /// The tests of mirrors in Azure, with Microsoft's own server, which it installs; not part of `test`
    Azurite,
    /// Make an environment of Python that tests need, and print its path: for the tests
    #[command(hide = true)]
    PythonEnvironment(test::python::Args),
    /// Tidiness, format, packages, lints and documentation alone
    Check,
    /// Tidiness alone: imports, lengths, phrases, pages, links and flags, in seconds
    Tidy,
}

fn main() -> ExitCode {
    match Args::parse().verb {
        Verb::New(args) => new::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::GpuCheck(args) => gpu_check::run(&args),
        Verb::Llvm => llvm::run(),
        Verb::Bench(args) => bench::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Azurite => test::azurite::run(),
        Verb::PythonEnvironment(args) => test::python::run(&args),
        Verb::Check => check::run().map_or_else(|failed| failed, |()| ExitCode::SUCCESS),
        Verb::Tidy => tidy::run().map_or_else(|failed| failed, |()| ExitCode::SUCCESS),
    }
}
